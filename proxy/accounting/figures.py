"""What calls come to, and how that is made up: by how their tokens are known, by why an attempt was made, by where the
answer came from, by why there was none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter, neg
from typing import Final, NamedTuple, Self, TypeVar

from proxy.state import Dimension, Sums

#: What a report asks for besides its groups, in the order of `Totals.add`.
DETAILS: Final[tuple[Dimension, ...]] = ("source", "error", "role", "metering")
#: Source of what a provider answered; with an error it is no answer.
_UPSTREAM: Final = "upstream"
_Name = TypeVar("_Name")
_NAMES: Final = tuple(one.name for one in fields(Sums))
_amounts: Final = attrgetter(*_NAMES)
_NOTHING: Final = (0,) * len(_NAMES)


class Attempts(NamedTuple):
    """What attempts of one sort come to."""

    attempts: int = 0
    cost_nusd: int = 0
    low_nusd: int = 0  #: what they cost at least
    high_nusd: int = 0  #: and at most


class Answers(NamedTuple):
    """What answers of one source come to."""

    calls: int = 0
    saved_nusd: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a report says of some calls. What is nowhere in the books is in no mapping."""

    sums: Sums
    metering: Mapping[str, Attempts]  #: `reported`, `estimated`, `unmetered`
    roles: Mapping[str, Attempts]  #: `first`, `retry`, `hedge`, `rescue`, `fallback`
    sources: Mapping[str, Answers]  #: `upstream`, `static`, `cache:exact`, `cache:semantic`
    refused: Mapping[str, int]  #: calls for which nobody was asked, by the reason
    failed: Mapping[str, int]  #: calls that ended with an error though somebody was asked, by the error

    @classmethod
    def none(cls) -> Self:
        """Of no calls."""
        return cls(Sums(), {}, {}, {}, {}, {})


class Totals:
    """Adds up rows of the books. What was added and taken away again leaves nothing behind."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, ...], tuple[int, ...]] = {}

    def add(self, details: tuple[str, ...], sums: Sums, *, is_taken: bool = False) -> None:
        """Add a row, or take it away. `details` are the values of DETAILS. Cost: 2 µs."""
        amounts: tuple[int, ...] = _amounts(sums)
        if is_taken:
            amounts = tuple(map(neg, amounts))
        _add(self._rows, details, amounts)

    def figures(self) -> Figures | None:
        """What it comes to; None if that is nothing at all."""
        total: tuple[int, ...] = _NOTHING
        metering: dict[str, tuple[int, ...]] = {}
        roles: dict[str, tuple[int, ...]] = {}
        sources: dict[str, tuple[int, ...]] = {}
        refused: dict[str, int] = {}
        failed: dict[str, int] = {}
        rows = [(details, amounts) for details, amounts in self._rows.items() if any(amounts)]
        for (source, error, role, how), amounts in rows:
            total = tuple(map(add, total, amounts))
            calls = amounts[0]
            if role:
                _add(metering, how, amounts[2:6])
                _add(roles, role, amounts[2:6])
            if calls and error:
                reasons = failed if role else refused
                reasons[error] = reasons.get(error, 0) + calls
            if not error or source != _UPSTREAM:
                _add(sources, source, amounts[:2])
        if not rows:
            return None
        return Figures(
            Sums(*total),
            {name: Attempts(*part) for name, part in metering.items()},
            {name: Attempts(*part) for name, part in roles.items()},
            {name: Answers(*part) for name, part in sources.items() if any(part)},
            refused,
            failed,
        )


def _add(parts: dict[_Name, tuple[int, ...]], name: _Name, amounts: tuple[int, ...]) -> None:
    before = parts.get(name)
    parts[name] = amounts if before is None else tuple(map(add, before, amounts))
