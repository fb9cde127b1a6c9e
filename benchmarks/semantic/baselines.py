"""How others decide: cosine alone, or a mixture of cosine and BM25."""

from __future__ import annotations

from collections import Counter
from typing import Final

from proxy.cache.semantic.facts import Facts
from proxy.cache.semantic.words import Words

_K1: Final = 1.2
_B: Final = 0.75
#: Words of an ordinary question.
_MEAN_WORDS: Final = 10.0


def bm25(asked: Facts, stored: Facts, words: Words) -> float:
    """BM25 of the stored text for the one that is asked, as a share of what the asked one would have itself: 0 to 1.

    How rare a word is comes from the table, for two texts are no collection; figures are as rare as can be.
    """
    whole = _score(asked, asked, words)
    return _score(asked, stored, words) / whole if whole else 0.0


def hybrid(cosine: float, lexical: float) -> float:
    """0.7 of the one, 0.3 of the other."""
    return 0.7 * cosine + 0.3 * min(1.0, lexical)


def _score(asked: Facts, stored: Facts, words: Words) -> float:
    norm = _K1 * (1 - _B + _B * len(stored.tokens) / _MEAN_WORDS)
    counts = Counter(stored.tokens)
    return sum(
        words.rarity(token) * counts[token] * (_K1 + 1) / (counts[token] + norm) for token in sorted(set(asked.tokens))
    )
