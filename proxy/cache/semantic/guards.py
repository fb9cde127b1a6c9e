"""Vetoes: what two questions differ in, so that one has not the answer of the other, however alike they read.

Each guard has one reason and its name. They are sure rather than complete: what they let through the verifier weighs.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Final, Literal

from proxy.cache.semantic.facts import Facts
from proxy.cache.semantic.lexicon_en import REVERSING_PREFIXES
from proxy.cache.semantic.meanings import MEANINGS
from proxy.cache.semantic.numbers import agree

Veto = Literal[
    "numbers",
    "negation",
    "antonym",
    "alternative",
    "names",
    "quoted",
    "code",
    "url",
    "direction",
    "qualifier",
    "template",
]

#: The share of words that two prompts made from one template have in common at least.
_FRAME: Final = 0.6
_TEMPLATE_WORDS: Final = 25
_SLIP_CHARS: Final = 4
#: Two texts that differ in more are not one with a slip of the pen.
_MAX_SLIPS: Final = 64


@dataclass(frozen=True, slots=True)
class Difference:
    """Two texts, and what each says that the other does not."""

    asked: Facts
    stored: Facts
    mine: frozenset[str]  #: meanings that only the asked one has, slips of the pen aside
    theirs: frozenset[str]
    opposed: int  #: pairs of opposites they take different sides of


def compare(asked: Facts, stored: Facts) -> Difference:
    """What guards and features look at. Cost: 3 to 10 µs."""
    mine, theirs = asked.content.keys() - stored.content.keys(), stored.content.keys() - asked.content.keys()
    has_unknown = bool(asked.unknown or stored.unknown)
    if mine and theirs and has_unknown and len(mine) * len(theirs) <= _MAX_SLIPS:
        for word in sorted(mine):
            own = asked.spelled[word]
            for meant in sorted(theirs):
                other = stored.spelled[meant]
                if (own in asked.unknown) != (other in stored.unknown) and is_slip(own, other):
                    mine.discard(word)
                    theirs.discard(meant)
                    break
    return Difference(asked, stored, frozenset(mine), frozenset(theirs), _opposed(asked, stored, mine, theirs))


def vetoes(difference: Difference) -> tuple[Veto, ...]:
    """The names of the guards that object, in a fixed order. Cost: 5 to 10 µs."""
    asked, stored = difference.asked, difference.stored
    if asked.text == stored.text and asked.names == stored.names and asked.code == stored.code:
        return ()
    return tuple([name for name, objects in _GUARDS if objects(difference)])


def _opposed(one: Facts, other: Facts, mine: Set[str], theirs: Set[str]) -> int:
    """A word and its reversal (`un-`) are opposites too."""
    count = 0
    if one.poles and other.poles and one.poles != other.poles:
        for pair, side in one.poles - other.poles:
            opposite = (pair, 1 - side)
            count += opposite in other.poles and opposite not in one.poles
    if mine and theirs and not one.is_chinese:
        count += sum(_is_reversed(word, theirs) for word in mine) + sum(_is_reversed(word, mine) for word in theirs)
    return count


def is_slip(word: str, meant: str) -> bool:
    """Is one of them the other with a letter too many, too few, changed or in the wrong place? To be asked only where
    exactly one of them is a word that is known: two names that are nearly alike are two names.
    """
    if min(len(word), len(meant)) < _SLIP_CHARS or abs(len(word) - len(meant)) > 1 or word[0] != meant[0]:
        return False
    if not word.isalpha() or not meant.isalpha() or not word.isascii():
        return False
    shortest = min(len(word), len(meant))
    at = next((place for place in range(shortest) if word[place] != meant[place]), shortest)
    if len(word) != len(meant):
        short, long = sorted((word, meant), key=len)
        return short[at:] == long[at + 1 :]
    swapped = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    return word[at + 1 :] == meant[at + 1 :] or swapped == meant


def _names(difference: Difference) -> bool:
    """Does each name something that the other does not?"""
    one, other = difference.asked, difference.stored
    if not one.names or not other.names or one.names == other.names:
        return False
    return _has_own_name(one, other) and _has_own_name(other, one)


def _has_own_name(one: Facts, other: Facts) -> bool:
    return any(
        name not in other.names
        and name not in other.text
        and MEANINGS.get(name, name) not in other.content  # another word for it: UK and British
        and not (2 <= len(name) <= 5 and name in other.initials)
        for name in one.names
    )


def _is_reversed(word: str, others: Set[str]) -> bool:
    return len(word) > 3 and any(prefix + word in others for prefix in REVERSING_PREFIXES)


def _numbers(difference: Difference) -> bool:
    mine, theirs = difference.asked.quantities, difference.stored.quantities
    return mine != theirs and not agree(mine, theirs)


def _negation(difference: Difference) -> bool:
    """An odd number of turns. `not allowed` against `banned` is none: the opposite makes up for the negation."""
    turns = difference.asked.negations - difference.stored.negations
    return turns != 0 and (turns + difference.opposed) % 2 == 1


def _antonym(difference: Difference) -> bool:
    return difference.opposed > 0 and difference.asked.negations == difference.stored.negations


def _alternative(difference: Difference) -> bool:
    """Each names another thing of one kind: tea here, coffee there."""
    for kind, mine in difference.asked.kinds.items():
        theirs = difference.stored.kinds.get(kind)
        if theirs is not None and not mine & theirs:
            return True
    return False


def _quoted(difference: Difference) -> bool:
    one, other = difference.asked, difference.stored
    return one.quoted != other.quoted and (
        any(span not in other.text for span in one.quoted) or any(span not in one.text for span in other.quoted)
    )


def _code(difference: Difference) -> bool:
    return difference.asked.code != difference.stored.code


def _url(difference: Difference) -> bool:
    return difference.asked.urls != difference.stored.urls


def _direction(difference: Difference) -> bool:
    mine, theirs = difference.asked.directions, difference.stored.directions
    if not mine or not theirs:
        return False
    return any((b, a) in theirs and (a, b) not in theirs for a, b in mine)


def _qualifier(difference: Difference) -> bool:
    """A narrower question against a wider one, or two that are narrowed differently, all else being nearly the same."""
    asked, stored = difference.asked, difference.stored
    left, right = asked.qualifiers - stored.qualifiers, stored.qualifiers - asked.qualifiers
    if not left and not right:
        return False
    if not asked.is_chinese:
        left = frozenset(word for word in left & difference.mine if word not in stored.text)
        right = frozenset(word for word in right & difference.theirs if word not in asked.text)
        if not left and not right:
            return False
    return len(difference.mine) <= len(left) + 1 and len(difference.theirs) <= len(right) + 1


def _template(difference: Difference) -> bool:
    """Two long prompts of one frame whose rest holds figures, quotations, code or addresses."""
    asked, stored = difference.asked, difference.stored
    if min(len(asked.tokens), len(stored.tokens)) < _TEMPLATE_WORDS:
        return False
    mine, theirs = set(asked.tokens), set(stored.tokens)
    if len(mine & theirs) < _FRAME * min(len(mine), len(theirs)):
        return False
    has_figures = any(any(map(str.isdigit, token)) for token in mine ^ theirs)
    return has_figures or asked.quoted != stored.quoted or asked.code != stored.code or asked.urls != stored.urls


_GUARDS: Final[tuple[tuple[Veto, Callable[[Difference], bool]], ...]] = (
    ("numbers", _numbers),
    ("negation", _negation),
    ("antonym", _antonym),
    ("alternative", _alternative),
    ("names", _names),
    ("quoted", _quoted),
    ("code", _code),
    ("url", _url),
    ("direction", _direction),
    ("qualifier", _qualifier),
    ("template", _template),
)
