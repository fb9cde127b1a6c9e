"""A string that a regular expression accepts, for the common part of the syntax.

Not for look-around, back references and inline flags: for those there is none.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.providers.simulated.steps import Steps

_DIGITS: Final = string.digits
_WORD: Final = string.ascii_lowercase + string.ascii_uppercase + string.digits + "_"
_PRINTABLE: Final = string.ascii_letters + string.digits + string.punctuation + " "
_CLASSES: Final = {
    "d": _DIGITS,
    "w": _WORD,
    "s": " ",
    "D": string.ascii_letters,
    "W": "-. ",
    "S": string.ascii_letters + string.digits,
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "f": "\f",
    "v": "\v",
}
_GROUP_OPEN: Final = re.compile(r"\?:|\?P?<[A-Za-z_]\w*>")
_COUNTED: Final = re.compile(r"\{(\d+)(,(\d*))?\}")
_CODE_POINT: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")
_MAX_DEPTH: Final = 32
_TRIES: Final = 4
_FEW: Final = 2


@dataclass(frozen=True, slots=True)
class _Draw:
    rng: random.Random
    steps: Steps
    extra: int | None = None  #: repetitions beyond the least; None draws a few


_Node = Callable[[_Draw], str]


def sample(pattern: str, min_length: int, max_length: int | None, rng: random.Random, steps: Steps) -> str | None:
    """A string the pattern accepts, of that length where one was found; None if the pattern is beyond this reader."""
    try:
        node = _Reader(pattern).read()
    except ValueError:
        return None
    for _ in range(_TRIES):
        text = node(_Draw(rng, steps))
        if min_length <= len(text) and (max_length is None or len(text) <= max_length):
            return text
    least, most = 0, min_length  # bisection: more repetitions, longer text
    while least <= most:
        extra = (least + most) // 2
        text = node(_Draw(rng, steps, extra))
        if len(text) < min_length:
            least = extra + 1
        elif max_length is not None and len(text) > max_length:
            most = extra - 1
        else:
            break
    return text


def _one_of(chars: str) -> _Node:
    if not chars:
        raise ValueError("a class without members")

    def draw(state: _Draw) -> str:
        state.steps.take()
        return state.rng.choice(chars)

    return draw


def _sequence(nodes: list[_Node]) -> _Node:
    return lambda state: "".join([node(state) for node in nodes])


def _choice(nodes: list[_Node]) -> _Node:
    return lambda state: state.rng.choice(nodes)(state)


def _repeat(node: _Node, least: int, most: int | None) -> _Node:
    def draw(state: _Draw) -> str:
        count = least + (state.rng.randint(0, _FEW) if state.extra is None else state.extra)
        if most is not None:
            count = max(least, min(most, count))
        state.steps.take(count)
        return "".join([node(state) for _ in range(count)])

    return draw


class _Reader:
    """Recursive descent over the pattern. Raises ValueError for what it doesn't know."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def read(self) -> _Node:
        node = self._alternation()
        if self._at < len(self._pattern):
            raise ValueError("unbalanced parenthesis")
        return node

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise ValueError("the pattern ends too early")
        self._at += 1
        return char

    def _alternation(self) -> _Node:
        branches = [self._branch()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._branch())
        return branches[0] if len(branches) == 1 else _choice(branches)

    def _branch(self) -> _Node:
        nodes: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            if self._peek() in "^$":
                self._at += 1
            else:
                nodes.append(self._quantified(self._atom()))
        return _sequence(nodes)

    def _quantified(self, node: _Node) -> _Node:
        char = self._peek()
        counted = _COUNTED.match(self._pattern, self._at)
        if counted:
            least = int(counted[1])
            most = least if counted[2] is None else int(counted[3]) if counted[3] else None
            self._at = counted.end()
        elif char and char in "*+?":
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            self._at += 1
        else:
            return node
        if self._peek() == "?":  # lazy: the same strings
            self._at += 1
        return _repeat(node, least, most)

    def _atom(self) -> _Node:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return _one_of(self._class())
        if char == ".":
            return _one_of(_WORD)
        if char == "\\":
            if self._peek() in ("b", "B", "A", "Z", "z"):
                self._at += 1
                return _sequence([])
            return _one_of(self._escape())
        if char in "*+?":
            raise ValueError("nothing to repeat")
        return _one_of(char)

    def _group(self) -> _Node:
        opened = _GROUP_OPEN.match(self._pattern, self._at)
        if opened:
            self._at = opened.end()
        elif self._peek() == "?":
            raise ValueError("look-around or inline flags")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        node = self._alternation()
        self._depth -= 1
        if self._take() != ")":
            raise ValueError("unbalanced parenthesis")
        return node

    def _escape(self) -> str:
        """The characters an escape stands for; the backslash is already taken."""
        code_point = _CODE_POINT.match(self._pattern, self._at)
        if code_point:
            self._at = code_point.end()
            char = chr(int(code_point[1] or code_point[2], 16))
            if "\ud800" <= char <= "\udfff":
                raise ValueError("half of a surrogate pair")
            return char
        char = self._take()
        if char in _CLASSES:
            return _CLASSES[char]
        if char.isalnum():
            raise ValueError("a back reference or an unknown escape")
        return char

    def _class(self) -> str:
        negated = self._peek() == "^"
        self._at += negated
        members = ""
        while self._peek() != "]" or not members:
            first = self._member()
            if len(first) == 1 and self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                last = self._member()
                members += _span(first, last)
            else:
                members += first
        self._at += 1
        return "".join(char for char in _PRINTABLE if char not in members) if negated else members

    def _member(self) -> str:
        char = self._take()
        return self._escape() if char == "\\" else char


def _span(first: str, last: str) -> str:
    """The characters from first to last; of a long span only the beginning, which is members enough."""
    if len(last) != 1 or last < first:
        raise ValueError("a span without members")
    end = min(ord(last), ord(first) + 256)
    return "".join(chr(code) for code in range(ord(first), end + 1) if not 0xD800 <= code <= 0xDFFF)
