"""The lexicons by stem, as texts are searched for them."""

from __future__ import annotations

from typing import Final

from proxy.cache.semantic import lexicon_en as en
from proxy.cache.semantic import lexicon_zh as zh
from proxy.cache.semantic.words import stem


def _meanings() -> dict[str, str]:
    """Stem or Chinese word -> the one that stands for its synonyms. A word belongs to the first line that has it."""
    found: dict[str, str] = {}
    for line in f"{en.SYNONYMS};{zh.SYNONYMS}".split(";"):
        stems = [stem(word) for word in line.split()]
        for one in stems:
            found.setdefault(one, stems[0])
    return found


def _kinds_of(table: str, first: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, line in enumerate(table.split(";"), first):
        for word in line.split():
            found.setdefault(stem(word), []).append(number)
    return found


def _opposites(table: str, first: int) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for number, line in enumerate(table.split(";"), first):
        for side, part in enumerate(line.split("|")):
            for word in part.split():
                found.setdefault(stem(word), []).append((number, side))
    return found


STOP_STEMS: Final = frozenset(map(stem, en.STOPWORDS)) | en.STOPWORDS | zh.STOPWORDS | {"not"}
MEANINGS: Final = _meanings()
POLES_EN: Final = _opposites(en.ANTONYMS, 0)
POLES_ZH: Final = tuple(sorted(_opposites(zh.ANTONYMS, 1000).items(), key=lambda item: -len(item[0])))
KINDS_EN: Final = _kinds_of(en.ALTERNATIVES, 0)
KINDS_ZH: Final = _kinds_of(zh.ALTERNATIVES, 1000)
QUALIFIER_STEMS: Final = frozenset(map(stem, en.QUALIFIERS))
