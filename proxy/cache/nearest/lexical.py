"""Texts by their words: BM25 (Robertson and Zaragoza, 2009) over an inverted index. It finds what the vectors miss:
rare names, numbers and codes.

Words count once a text, which suits questions. Chinese, Japanese and Korean text is taken by pairs of characters.
Postings are sorted arrays of slots, so that removing is exact and there is nothing to clean up later.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import islice
from math import log
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

#: As usual: how much a text's length counts, and how soon a word's repetition counts no more.
_B: Final = 0.75
_K1: Final = 1.2
#: Characters of a text that are looked at, and different words that are kept of it.
_MAX_CHARS: Final = 2000
_MAX_TERMS: Final = 256
#: Words of a question that are looked up: the rarest.
_MAX_ASKED: Final = 64
#: Postings that a look-up goes through, the rarest words first: 0.3 ms. Words beyond only count for what was found by
#: rarer ones.
_MAX_POSTINGS: Final = 20_000
#: So many of those are counted in full.
_COUNTED: Final = 64
#: What a word takes besides its postings: an array, a key, a place in a table.
_TERM_BYTES: Final = 256
_POSTING_BYTES: Final = 5  # 4, and room to grow
_LENGTH_BYTES: Final = 3

#: Kana, ideographs, Hangul; what else belongs to them is brought there by NFKC.
_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_RUN: Final = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W_{_CJK}]+")

_Postings = NDArray[np.uint32]


def terms_of(text: str) -> list[int]:
    """The first 256 words of a text as numbers (CRC-32), each once, in ascending order. 10 µs for a question."""
    found: dict[str, None] = {}
    for run in _RUN.finditer(unicodedata.normalize("NFKC", text[:_MAX_CHARS]).casefold()):
        word = run.group()
        if run["cjk"] is None or len(word) == 1:
            found[word] = None
        else:
            found.update((word[at : at + 2], None) for at in range(len(word) - 1))
    return sorted({crc32(word.encode("utf-8", "replace")) for word in islice(found, _MAX_TERMS)})


class Lexical:
    """The texts of one scope, in the slots of its matrix. For one thread."""

    __slots__ = ("_lengths", "_postings", "_total_length", "used_bytes")

    def __init__(self) -> None:
        self._postings: dict[int, array[int]] = {}
        self._lengths = array("H")  # of each text, in words
        self._total_length = 0
        self.used_bytes = 0

    def append(self, terms: Sequence[int]) -> None:
        """Put a text of these words into the next slot; see `terms_of`."""
        slot = len(self._lengths)
        for term in terms:
            postings = self._postings.get(term)
            if postings is None:
                postings = self._postings[term] = array("I")
                self.used_bytes += _TERM_BYTES
            postings.append(slot)
        self._lengths.append(len(terms))
        self._total_length += len(terms)
        self.used_bytes += len(terms) * _POSTING_BYTES + _LENGTH_BYTES

    def remove(self, slot: int, text: str, last_text: str) -> None:
        """Forget the text in this slot; the last one comes into its place."""
        terms, last = terms_of(text), len(self._lengths) - 1
        for term in terms:
            postings = self._postings[term]
            del postings[bisect_left(postings, slot)]
            if not postings:
                del self._postings[term]
                self.used_bytes -= _TERM_BYTES
        if slot != last:
            for term in terms_of(last_text):
                postings = self._postings[term]
                postings.pop()  # the last slot is the last in its order
                insort(postings, slot)
        self._lengths[slot] = self._lengths[last]
        self._lengths.pop()
        self._total_length -= len(terms)
        self.used_bytes -= len(terms) * _POSTING_BYTES + _LENGTH_BYTES

    def nearest(self, text: str, count: int) -> list[int]:
        """The slots of so many texts, the best first; none if no word of the question is rarer than 20,000 texts."""
        held = sorted((self._postings[term] for term in terms_of(text) if term in self._postings), key=len)
        searched, counted = _divide([np.frombuffer(one, np.uint32) for one in held[:_MAX_ASKED]])
        if not searched:
            return []
        scores = np.zeros(len(self._lengths), np.float32)
        for postings in searched:
            scores[postings] += self._weight(postings)
        slots = np.flatnonzero(scores > 0)  # of booleans it takes a fifth of the time
        shares = self._shares(slots)
        best = _best(scores[slots] * shares)
        slots, totals, shares = slots[best], scores[slots[best]], shares[best]
        for postings in counted:
            totals += _holds(postings, slots) * self._weight(postings)
        order = np.lexsort((slots, -totals * shares))
        return [int(slot) for slot in slots[order[:count]]]

    def _weight(self, postings: _Postings) -> float:
        texts, having = len(self._lengths), len(postings)
        return log(1 + (texts - having + 0.5) / (having + 0.5))

    def _shares(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """What a word is worth in a text of each one's length."""
        lengths = np.frombuffer(self._lengths, np.uint16)[slots].astype(np.float32)
        average = self._total_length / len(self._lengths)
        shares: NDArray[np.float32] = (_K1 + 1) / (1 + _K1 * (1 - _B + _B * lengths / average))
        return shares


def _best(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Where the best are."""
    if len(scores) <= _COUNTED:
        return np.arange(len(scores))
    return np.argpartition(scores, len(scores) - _COUNTED)[-_COUNTED:]


def _divide(held: Sequence[_Postings]) -> tuple[list[_Postings], list[_Postings]]:
    """Those that are gone through, and those that only count for what is found. The rarest come first."""
    sizes = np.cumsum([len(postings) for postings in held])
    fitting = int(np.searchsorted(sizes, _MAX_POSTINGS, side="right"))
    return list(held[:fitting]), list(held[fitting:])


def _holds(postings: _Postings, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these slots are among them."""
    at = np.searchsorted(postings, slots)
    held: NDArray[np.bool_] = postings[np.minimum(at, len(postings) - 1)] == slots
    return held
