import os
from collections.abc import Callable

import pytest

from proxy.observe.board import Board


def in_a_child(act: Callable[[], None]) -> None:
    """Act in a process of its own, and wait for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_nobody_has_a_slot_until_it_is_assigned() -> None:
    board = Board(3)
    assert list(board.standings()) == []
    board.assign(1, 5.0)
    [standing] = board.standings()
    assert (standing.slot, standing.state, standing.beat_s) == (1, "starting", 5.0)
    board.clear(1)
    assert list(board.standings()) == []


def test_what_a_child_writes_its_parent_sees() -> None:
    board = Board(2)
    board.assign(0, 1.0)
    board.assign(1, 1.0)

    def live() -> None:
        board.enter(1, "ready")
        board.beat(1, 7.5, 3)
        board.connected(1, 40)
        board.publish(1, b"counts")

    in_a_child(live)
    board.name(1, 4711)
    standing = board.standing(1)
    assert (standing.state, standing.beat_s, standing.calls, standing.connections) == ("ready", 7.5, 3, 40)
    assert standing.pid == 4711
    assert board.sheet(1) == b"counts"
    assert board.standing(0).state == "starting"


def test_a_slot_that_is_assigned_again_begins_afresh() -> None:
    board = Board(1)
    board.assign(0, 1.0)
    board.beat(0, 2.0, 9)
    board.connected(0, 9)
    board.name(0, 4711)
    board.assign(0, 3.0)
    standing = board.standing(0)
    assert (standing.calls, standing.connections, standing.pid) == (0, 0, 0)


def test_flags_of_the_whole() -> None:
    board = Board(1)
    assert not board.opened
    assert not board.draining
    board.opened = board.draining = True
    board.deaths += 2
    before = board.reloads
    board.call_for_reload()
    assert (board.opened, board.draining, board.deaths) == (True, True, 2)
    assert board.reloads != before


@pytest.mark.parametrize("sheets", [[b"a"], [b"a", b"longer than before"], [b"long at first", b"b", b""]])
def test_the_last_sheet_is_shown(sheets: list[bytes]) -> None:
    board = Board(2)
    for sheet in sheets:
        board.publish(1, sheet)
    assert board.sheet(1) == sheets[-1]
    assert board.sheet(0) == b""


def test_a_writer_that_dies_half_way_leaves_the_sheet_before() -> None:
    board = Board(1)
    board.publish(0, b"whole")
    # What `publish` does first: the words that point to it come after, and never came.
    os.pwrite(board._sheets, b"torn", board._area(0, 2))
    assert board.sheet(0) == b"whole"


def test_a_burial_takes_a_sheet_away_and_leaves_what_is_kept() -> None:
    board = Board(2)
    board.publish(0, b"zero")
    board.publish(1, b"one")
    board.bury(1, b"what one left")
    assert board.sheets() == (b"what one left", {0: b"zero"})
    board.publish(1, b"another")
    assert board.sheets() == (b"what one left", {0: b"zero", 1: b"another"})


def test_a_sheet_beyond_all_measure_is_refused() -> None:
    class Endless(bytes):
        def __len__(self) -> int:
            return 10**9

    with pytest.raises(ValueError, match="there is room for"):
        Board(1).publish(0, Endless())
