"""Do two answers say the same? The calibrator learns from it, where a fresh answer can be held against a cached one."""

from __future__ import annotations

import re
from typing import Final

import orjson

from proxy.cache.semantic.facts import Facts, facts_of, normalise
from proxy.cache.semantic.guards import compare, vetoes
from proxy.cache.semantic.words import Words

#: Cosine of the answers' vectors: from here on they are taken for the same if no guard objects; below the other one for
#: different. Models word one answer in many ways, so between them nothing is said.
SAME: Final = 0.88
DIFFERENT: Final = 0.5
#: Answers of up to so many words are compared word by word: a short one has no room for another wording.
_SHORT_WORDS: Final = 6
#: So much of an answer is looked at, in characters: 10 ms of a thread that keeps the others waiting.
_COMPARED_CHARS: Final = 4000
_FENCE: Final = re.compile(r"^```\w*\s*|\s*```$")
_MARKUP: Final = re.compile(r"[*_`#>]+|^\s*(?:[-•]|\d+[.)])\s+", re.MULTILINE)
_EDGE: Final = " .,;:!?…~\"'。，！？；："
_YES: Final = re.compile(
    r"^(?:yes|yeah|yep|correct|true|是的?|对|可以|能|会)\b|^(?:是的|对的|可以|能)[，,。]?", re.IGNORECASE
)
_NO: Final = re.compile(r"^(?:no|nope|incorrect|false)\b|^(?:不是|不对|不可以|不能|不会|没有|否|不)", re.IGNORECASE)
#: Guards whose objection means something for answers too; long texts differ in words such as `only` by chance.
_HARD: Final = frozenset({"numbers", "antonym", "alternative", "negation", "names", "direction"})


def same_answer(fresh: str, cached: str, cosine: float | None, words: Words) -> bool | None:
    """Would who got `cached` have been served as well as by `fresh`? None: that can't be told.

    `cosine` of the two answers' vectors; None: not known, and then only what is plainly equal or plainly different is
    told. It leans towards `different`: a wrong `same` would loosen a promise. Of long answers the beginnings can tell
    that they are different, and not that they are the same. Cost: 0.1 to 0.5 ms for 100 words, 10 ms at most.
    """
    if max(len(fresh), len(cached)) <= _COMPARED_CHARS:
        return _same(fresh, cached, cosine, words)
    if fresh == cached:
        return True if fresh.strip() else None
    structured = _same_structure(fresh, cached)
    if structured is not None:
        return structured
    return None if _same(fresh[:_COMPARED_CHARS], cached[:_COMPARED_CHARS], cosine, words) is not False else False


def _same(fresh: str, cached: str, cosine: float | None, words: Words) -> bool | None:
    ours, theirs = _plain(fresh), _plain(cached)
    if not ours or not theirs:
        return None
    if ours == theirs:
        return True
    structured = _same_structure(fresh, cached)
    if structured is not None:
        return structured
    if (bool(_YES.search(ours)) and bool(_NO.search(theirs))) or (bool(_NO.search(ours)) and bool(_YES.search(theirs))):
        return False
    one, other = facts_of(ours, words), facts_of(theirs, words)
    if _is_short(one) and _is_short(other):
        return _same_words(one, other)
    if cosine is None:
        return False if _contradict(one, other) else None
    if cosine < DIFFERENT:
        return False
    if _contradict(one, other):
        return False
    return True if cosine >= SAME else None


def _plain(text: str) -> str:
    return normalise(_MARKUP.sub("", _FENCE.sub("", text.strip()))).strip(_EDGE).casefold()


def _same_structure(fresh: str, cached: str) -> bool | None:
    """Of two JSON documents: are they the same? None if one of them is none."""
    documents = []
    for text in (fresh, cached):
        stripped = _FENCE.sub("", text.strip())
        if not stripped.startswith(("{", "[")):
            return None
        try:
            documents.append(orjson.loads(stripped))
        except orjson.JSONDecodeError:
            return None
    try:
        return bool(documents[0] == documents[1])
    except RecursionError:  # nobody nests so deep to be understood
        return None


def _is_short(facts: Facts) -> bool:
    return len(facts.tokens) <= _SHORT_WORDS


def _same_words(one: Facts, other: Facts) -> bool | None:
    """Of two short answers: one may say more than the other, but each saying something of its own is a difference."""
    left, right = one.content.keys() - other.content.keys(), other.content.keys() - one.content.keys()
    if vetoes(compare(one, other)) or (left and right):
        return False
    return None if left or right or not one.content else True


def _contradict(one: Facts, other: Facts) -> bool:
    """Figures that both have are different, or a guard that is sure objects. A long answer may give more figures than
    another, so they contradict only if each has one of its own.
    """
    mine, theirs = one.quantities - other.quantities, other.quantities - one.quantities
    if mine and theirs:
        return True
    objections = _HARD.intersection(vetoes(compare(one, other))) - {"numbers"}
    return bool(objections & {"antonym", "direction"}) or (
        bool(objections) and max(len(one.tokens), len(other.tokens)) <= 40
    )
