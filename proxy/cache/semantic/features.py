"""What the verifier looks at: figures of two texts that no guard objects to, the same whichever comes first.

Not among them, because they changed nothing on held-out pairs: the cosine of what is left over on both sides (two more
embeddings, 1.1 ms each), and vectors of single words.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from proxy.cache.semantic.facts import Facts
from proxy.cache.semantic.guards import Difference
from proxy.cache.semantic.words import RAREST

NAMES: Final = (
    "cosine",
    "overlap",
    "gram_overlap",
    "gram_containment",
    "unmatched_least",
    "unmatched_most",
    "unmatched_share_least",
    "unmatched_share_most",
    "rarest_least",
    "rarest_most",
    "unmatched_count_least",
    "unmatched_count_most",
    "order",
    "length_ratio",
    "words_least",
    "words_most",
    "same_ask",
    "other_ask",
    "why_differs",
    "other_measure",
    "negation",
    "opposed",
    "one_sided_name",
    "qualifiers",
    "unknown_words",
    "frame",
    "is_chinese",
    "statements",
)
#: What is asked for by these is of one kind each: a time is no answer to how much.
_MEASURES: Final = frozenset(
    {"how much", "how many", "how long", "how far", "how often", "how old", "when", "where", "who", "why"}
)


def features(difference: Difference, cosine: float) -> list[float]:
    """The figures of `NAMES`. `cosine` of the two texts' vectors. Cost: 20 to 30 µs."""
    one, other = difference.asked, difference.stored
    # sorted, so that sums are the same to the last digit, and so are the trees that are learned from them
    left = sorted([one.content[word] for word in difference.mine])
    right = sorted([other.content[word] for word in difference.theirs])
    mine, theirs = sum(left), sum(right)
    shared = sum(one.content.values()) - mine
    least, most = (mine, theirs) if mine < theirs else (theirs, mine)
    mine_share, their_share = mine / (mine + shared + 1e-9), theirs / (theirs + shared + 1e-9)
    my_rarest, their_rarest = max(left, default=0.0), max(right, default=0.0)
    both_grams = len(one.grams & other.grams)
    my_grams, their_grams = len(one.grams), len(other.grams)
    my_words, their_words = len(one.tokens), len(other.tokens)
    my_size, their_size = len(one.text), len(other.text)
    asks_differ = one.asks != other.asks
    return [
        cosine,
        shared / (shared + mine + theirs + 1e-9),
        both_grams / ((my_grams + their_grams - both_grams) or 1),
        both_grams / (min(my_grams, their_grams) or 1),
        least,
        most,
        min(mine_share, their_share),
        max(mine_share, their_share),
        min(my_rarest, their_rarest),
        max(my_rarest, their_rarest),
        min(len(left), len(right)),
        max(len(left), len(right)),
        _order(one, other),
        min(my_size, their_size) / (max(my_size, their_size) or 1),
        min(my_words, their_words),
        max(my_words, their_words),
        not asks_differ,
        asks_differ and bool(one.asks and other.asks),
        asks_differ and "why" in (one.asks, other.asks),
        asks_differ and one.asks in _MEASURES and other.asks in _MEASURES,
        one.negations != other.negations,
        difference.opposed,
        one.names != other.names and (one.names >= other.names or other.names >= one.names),
        len(one.qualifiers ^ other.qualifiers),
        sum(rarity >= RAREST for rarity in left) + sum(rarity >= RAREST for rarity in right),
        _frame(one.tokens, other.tokens),
        one.is_chinese or other.is_chinese,
        (not one.asks) + (not other.asks),
    ]


def _order(one: Facts, other: Facts) -> float:
    """The share of neighbouring common words that come in the same order: 1 if all do."""
    mine = {word: at for at, word in enumerate(one.tokens)}
    places = [mine[word] for word in dict.fromkeys(other.tokens) if word in mine]
    if len(places) < 2:
        return 1.0
    return sum([a < b for a, b in pairwise(places)]) / (len(places) - 1)


def _frame(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    """The share of the longer text's words that the two begin and end with alike."""
    shortest, longest = sorted((len(a), len(b)))
    head = 0
    while head < shortest and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < shortest - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    return (head + tail) / (longest or 1)
