r"""How the books lie in Redis. All of a team has one hash tag; its calls are by the hour in which they began, its sums
by the day of the books.

    TAG:books            hash: `stamp`, how often something was entered; `latest`, when the call ended that ended last;
                         `kept`, HOUR DAY: single calls that were booked before may be forgotten
    TAG:books:hours      hash HOUR -> LAST WRITTEN: the hours of which there are calls, the last hour in which one of
                         them was booked, and when that was done, in Unix milliseconds
    TAG:books:days       set of SUFFIXES: DAY for all calls of a day, DAY:KEY for those that carry that tag
    TAG:books:late       set of the days of which there is TAG:late
    TAG:calls:HOUR       hash call id -> its settlement (`redis_entries.py`); id \n -> how an orphan was settled at last
    TAG:named:DAY        hash name -> BEGAN_MS \n call id, for names by which no hour is found. This DAY is UTC's, and
                         counts from 1970
    TAG:late:DAY         hash of what was booked on that day in another hour than its own: field of TAG:calls -> HOUR
    TAG:groups:SUFFIX    hash group -> number of its row in the day's sums
    TAG:sums:day:SUFFIX  rows of 13 integers of 64 bits: Sums
    TAG:hours:SUFFIX     hash HOUR.NUMBER -> the group's row in the hours' sums
    TAG:sums:hour:SUFFIX the same rows
    TAG:opened           hash call id -> JOURNAL \n intent: calls under way for some time
    TAG:open:JOURNAL     sorted set of the ids of one journal's, by when they began
    FLEET:teams          set of all teams that ever called
    FLEET:journals       sorted set of journals, by when they were heard of last, in Unix milliseconds
    FLEET:journal:NAME   SEGMENT \n OFFSET: how far it was folded
    FLEET:opened:NAME    set of teams of which it may have calls under way

HOUR counts from 1970. A group is a JSON array, in the order of GROUP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple

import orjson

from proxy.state.base import DIMENSIONS, Dimension, Position
from proxy.state.redis_entries import HOUR_MS, HOUR_S, hour_of
from proxy.state.sums import MEASURES

#: What sums are kept by within a team, a day and a tag key.
GROUP: Final = DIMENSIONS[1:]
#: What follows the id of a call where its settlement after all lies.
TRUTH: Final = "\n"
_ROW: Final = Struct(f">{len(MEASURES)}q")
#: As `proxy.chain.new_id` makes them: the time in milliseconds, and chance.
_TIMED: Final = re.compile(r"req_([0-9a-f]{12})[0-9a-f]{20}")


def began_hour(call_id: str) -> int | None:
    """The hour that an id begins with; None if it says none. The call began in it, or next to it."""
    found = _TIMED.fullmatch(call_id)
    return None if found is None else hour_of(int(found.group(1), 16))


def is_found(name: str, began_ms: int) -> bool:
    """Does the name of a call lead to the hour in which it began?"""
    hour = began_hour(name)
    return hour is not None and abs(hour - began_ms // HOUR_MS) <= 1


def named(call_id: str, began_ms: int) -> str:
    """What TAG:named has of a call; of two, the one that began later is greater."""
    return f"{began_ms:016d}\n{call_id}"


def read_named(value: bytes) -> tuple[int, str]:
    """When the call began, in Unix milliseconds, and its id."""
    began_ms, _, call_id = value.decode().partition("\n")
    return int(began_ms), call_id


def suffix(day: str, tag_key: str) -> str:
    """Which sums: those of all calls, or those by one tag."""
    return f"{day}:{tag_key}" if tag_key else day


def read_suffixes(found: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Day and tag key of each."""
    for one in found:
        day, _, tag_key = one.decode().partition(":")
        yield day, tag_key


def read_rows(data: bytes | None) -> Sequence[tuple[int, ...]]:
    """Measures, in the order of Sums, of each row."""
    data = data or b""
    return [*_ROW.iter_unpack(data.ljust(-(-len(data) // _ROW.size) * _ROW.size, b"\0"))]


class DaySums(NamedTuple):
    """What some calls of one day come to."""

    group: Sequence[str]  #: in the order of GROUP
    hour: int  #: Unix seconds; 0: all of the day
    measures: tuple[int, ...]  #: in the order of Sums


def day_sums(groups: Mapping[bytes, bytes], rows: Sequence[tuple[int, ...]]) -> Iterator[DaySums]:
    """Sums by day. A group that came when its row was read already is left out."""
    for group, number in groups.items():
        if int(number) < len(rows):
            yield DaySums(orjson.loads(group), 0, rows[int(number)])


def hour_sums(
    groups: Mapping[bytes, bytes], hours: Mapping[bytes, bytes], rows: Sequence[tuple[int, ...]]
) -> Iterator[DaySums]:
    """Sums by hour."""
    by_number = {int(number): orjson.loads(group) for group, number in groups.items()}
    for place, row in hours.items():
        hour, _, number = place.partition(b".")
        if int(row) < len(rows) and int(number) in by_number:
            yield DaySums(by_number[int(number)], int(hour) * HOUR_S, rows[int(row)])


def place_of(dimensions: Iterable[Dimension]) -> list[int]:
    """Where a group has these; -1 stands for the team."""
    return [DIMENSIONS.index(name) - 1 for name in dimensions]


def write_position(position: Position) -> str:
    """See FLEET:journal."""
    return f"{position.segment}\n{position.offset}"


def read_position(data: bytes | None) -> Position:
    """See FLEET:journal; the beginning if there is none."""
    if data is None:
        return Position()
    segment, _, offset = data.decode().partition("\n")
    return Position(segment, int(offset))
