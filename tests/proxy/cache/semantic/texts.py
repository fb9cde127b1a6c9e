"""Facts of texts, for the tests of this room."""

from __future__ import annotations

from typing import Final

from proxy.cache.semantic.facts import Facts, facts_of
from proxy.cache.semantic.guards import Difference, compare
from proxy.cache.semantic.words import Words

WORDS: Final = Words.load()


def facts(text: str) -> Facts:
    """What is known of a text, with the shipped table of words."""
    return facts_of(text, WORDS)


def difference(asked: str, stored: str) -> Difference:
    """The same of two texts."""
    return compare(facts(asked), facts(stored))
