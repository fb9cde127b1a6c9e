"""What is asked of a report, read from text: by the command line and by the endpoints alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from proxy.accounting.periods import month_of
from proxy.state import Dimension, Granularity, Span

#: What people may group by, and what the books call it; and `tag:KEY` for each declared tag.
GROUPS: Final[Mapping[str, Dimension]] = {
    "team": "team",
    "key": "key_name",
    "cost_center": "cost_center",
    "model": "model",
    "provider": "provider",
}
#: What reports for programs may group by as well.
_INNER_GROUPS: Final[Mapping[str, Dimension]] = {**GROUPS, "metering": "metering"}
GRANULARITIES: Final[tuple[Granularity, ...]] = ("hour", "day", "month")
_TAG: Final = "tag:"
_MAX_CHARS: Final = 60


class BadQuery(ValueError):
    """A report that can't be made: which parameter is wrong, what was expected."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


@dataclass(frozen=True, slots=True)
class Query:
    """Which calls a report is about, and how they are put together."""

    span: Span
    group_by: tuple[str, ...] = ("team",)  #: names of GROUPS, and at most one `tag:KEY`
    granularity: Granularity = "total"
    team: str | None = None  #: only this one's

    @property
    def tag_key(self) -> str:
        """The tag that it groups by; empty if it does not."""
        return next((name.removeprefix(_TAG) for name in self.group_by if name.startswith(_TAG)), "")

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What it groups by, as the books call it."""
        return tuple("tag" if name.startswith(_TAG) else _INNER_GROUPS[name] for name in self.group_by)

    @property
    def where(self) -> Mapping[Dimension, str]:
        """What it keeps to."""
        return {} if self.team is None else {"team": self.team}


def parse_groups(text: str, tag_keys: Sequence[str], team: str | None) -> tuple[str, ...]:
    """`team,model`. Keys of several teams may have one name, so `key` brings `team` along unless there is only one.

    Raises BadQuery.
    """
    names = [name.strip() for name in text.split(",")]
    tags = [f"{_TAG}{key}" for key in tag_keys]
    for name in names:
        if name not in GROUPS and name not in tags:
            known = ", ".join((*GROUPS, *tags))
            raise BadQuery("group_by", f"there is no grouping by {shown(name)}; expected some of {known}{_hint(name)}")
        if names.count(name) > 1:
            raise BadQuery("group_by", f"{shown(name)} is there twice")
    if sum(name.startswith(_TAG) for name in names) > 1:
        raise BadQuery("group_by", "group by one tag at a time: the books add up each tag by itself")
    if "key" in names and "team" not in names and team is None:
        names.insert(names.index("key"), "team")
    return tuple(names)


def _hint(name: str) -> str:
    if name == "tag":
        return "; write tag:KEY"
    return "; declare a tag in accounting.tag_keys" if name.startswith(_TAG) else ""


def parse_granularity(text: str | None) -> Granularity:
    """`hour`, `day`, `month`; None is one sum of all. Raises BadQuery."""
    if text is None:
        return "total"
    for granularity in GRANULARITIES:
        if text == granularity:
            return granularity
    raise BadQuery("granularity", f"expected hour, day or month, not {shown(text)}")


def parse_day(text: str, parameter: str) -> date:
    """`2026-10-01`. Raises BadQuery."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadQuery(parameter, f"expected a day such as 2026-10-01, not {shown(text)}")


def parse_span(period: str | None, first: str | None, end: str | None, today: date) -> Span:
    """A month such as `2026-10`, or from one day on until before another; without any of them this month.

    `first` alone lasts until today. Raises BadQuery.
    """
    if period is not None and (first is not None or end is not None):
        raise BadQuery("period", "give either a period or from and to, not both")
    if period is not None:
        if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", period) or period[:4] in ("0000", "9999"):
            raise BadQuery(
                "period",
                f"expected a month such as 2026-10, not {shown(period)}; other spans are given by from and to",
            )
        return month_of(date.fromisoformat(f"{period}-01"))
    if first is None:
        if end is not None:
            raise BadQuery("to", "there is no from: give the first day as well")
        return month_of(today)
    begin = parse_day(first, "from")
    until = today + timedelta(days=1) if end is None else parse_day(end, "to")
    if until <= begin:
        raise BadQuery("to", f"the span ends ({until}) before it begins ({begin}); 'to' is the first day after it")
    return Span(begin, until)


def compared_spans(span: Span, today: date) -> tuple[Span, Span]:
    """What to compare: of the span the part that has begun, and as many days before it. A calendar month is compared
    with the one before it, a part of one with the same days of that. Raises BadQuery.
    """
    end = min(span.end, today + timedelta(days=1))
    if end <= span.first:
        raise BadQuery("compare", f"the span has not begun yet: it begins on {span.first}")
    now = Span(span.first, end)
    if span == month_of(span.first):
        before = month_of(span.first - timedelta(days=1))
        last = before.end if end == span.end else min(before.first + (end - span.first), before.end)
        return now, Span(before.first, last)
    return now, Span(span.first - (end - span.first), span.first)


def shown(text: str) -> str:
    """What somebody wrote, as it may be shown to him: in quotes, printable, and not at any length."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:_MAX_CHARS])
    return f"'{shown}{'…' if len(text) > _MAX_CHARS else ''}'"
