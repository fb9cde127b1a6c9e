from struct import pack

from proxy.state import Position
from proxy.state.redis_books import (
    DaySums,
    began_hour,
    day_sums,
    hour_sums,
    is_found,
    named,
    read_named,
    read_position,
    read_rows,
    read_suffixes,
    suffix,
    write_position,
)
from proxy.state.redis_entries import HOUR_MS, hour_of
from tests.books import MORNING_MS

ID = f"req_{MORNING_MS:012x}{1:020x}"


def row(calls: int) -> bytes:
    return pack(">13q", calls, *range(2, 14))


def test_an_id_says_when_its_call_began() -> None:
    assert began_hour(ID) == hour_of(MORNING_MS)
    assert began_hour("mine") is None
    assert began_hour(ID.upper()) is None
    assert is_found(ID, MORNING_MS + HOUR_MS)
    assert not is_found(ID, MORNING_MS + 2 * HOUR_MS)  # its clock was set
    assert not is_found("mine", MORNING_MS)


def test_of_two_calls_of_one_name_the_later_is_greater() -> None:
    assert named("a", 10**12) > named("b", 10**12 - 1)
    assert read_named(named(ID, MORNING_MS).encode()) == (MORNING_MS, ID)


def test_sums_are_found_by_day_and_tag() -> None:
    found = [suffix("2026-11-21", ""), suffix("2026-11-21", "env:a")]
    assert list(read_suffixes(one.encode() for one in found)) == [("2026-11-21", ""), ("2026-11-21", "env:a")]


def test_rows_are_thirteen_numbers_and_one_that_ends_early_ends_in_noughts() -> None:
    assert read_rows(None) == []
    first, second = read_rows(row(1) + pack(">2q", -5, 7))
    assert first == (1, *range(2, 14))
    assert second == (-5, 7, *(0,) * 11)


def test_rows_have_their_groups() -> None:
    groups = {b'["ci"]': b"0", b'["web"]': b"1", b'["later"]': b"2"}
    rows = read_rows(row(1) + row(5))
    assert [(one.group, one.hour, one.measures[0]) for one in day_sums(groups, rows)] == [
        (["ci"], 0, 1),
        (["web"], 0, 5),
    ]
    hours = {b"10.1": b"0", b"11.0": b"1", b"12.9": b"0", b"12.0": b"7"}
    assert list(hour_sums(groups, hours, rows)) == [
        DaySums(["web"], 36_000, rows[0]),
        DaySums(["ci"], 39_600, rows[1]),
    ]


def test_a_position_comes_back_as_it_was() -> None:
    for position in (Position(), Position("0000000001-12345678.journal", 2**40)):
        assert read_position(write_position(position).encode()) == position
    assert read_position(None) == Position()
