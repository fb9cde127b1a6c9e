from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.staffing import Hand, Step, decide, did_well, free_slots, pause_s

NOW_S = 1000.0


def hand(slot: int, **changes: object) -> Hand:
    ready = Hand(slot, generation=0, started_s=NOW_S - 20 + slot, state="ready", beat_s=NOW_S)
    return replace(ready, **changes)  # type: ignore[arg-type]  # the fields' own types


def step(hands: Iterable[Hand], wanted: int = 2, generation: int = 0, *, may_start: bool = True) -> Step:
    return decide(list(hands), wanted, generation, NOW_S, may_start=may_start, attentive_since_s=0.0)


def test_all_are_started_at_once() -> None:
    assert step([], 4) == Step(start=4)


def test_enough_are_left_alone() -> None:
    assert step([hand(0), hand(1)]) == Step()
    assert step([hand(0), hand(1, state="starting")]) == Step()


def test_one_that_is_gone_is_replaced_unless_it_must_wait() -> None:
    assert step([hand(1)]) == Step(start=1)
    assert step([hand(1)], may_start=False) == Step()


def test_one_that_leaves_by_itself_is_replaced_before_it_has_ended() -> None:
    assert step([hand(0, state="draining"), hand(1)]) == Step(start=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"beat_s": NOW_S - 31}, "no sign of life"),
        ({"state": "starting", "started_s": NOW_S - 31, "beat_s": NOW_S - 31}, "not ready"),
        ({"leave_by_s": NOW_S - 1}, "did not end"),
        ({"state": "draining", "beat_s": NOW_S - 31}, "no sign of life"),
    ],
)
def test_one_that_hangs_is_killed_and_replaced_at_once(changes: dict[str, object], reason: str) -> None:
    found = step([hand(0, **changes), hand(1)])
    assert found.start == 1
    assert reason in found.kill[0]


def test_nobody_is_killed_for_a_silence_in_which_the_parent_slept_too() -> None:
    hands = [hand(0, beat_s=NOW_S - 600), hand(1, state="starting", started_s=NOW_S - 600)]
    assert decide(hands, 2, 0, NOW_S, may_start=True, attentive_since_s=NOW_S - 5) == Step()


def test_one_that_was_told_to_leave_has_the_time_that_it_was_given() -> None:
    assert step([hand(0, leave_by_s=NOW_S + 1, state="draining"), hand(1), hand(2)]) == Step()


def test_a_stale_one_gets_a_successor_first() -> None:
    assert step([hand(0), hand(1)], generation=1) == Step(start=1)
    starting = hand(2, generation=1, state="starting")
    assert step([hand(0), hand(1), starting], generation=1) == Step()
    assert step([hand(0), hand(1), replace(starting, state="ready")], generation=1) == Step(leave=(0,))


def test_the_next_ones_turn_comes_when_the_one_before_has_ended() -> None:
    leaving, fresh = hand(0, leave_by_s=NOW_S + 60, state="draining"), hand(2, generation=1)
    assert step([leaving, hand(1), fresh], generation=1) == Step()
    assert step([hand(1), fresh], generation=1) == Step(start=1)


def test_a_successor_that_fails_costs_none_of_the_old_ones() -> None:
    assert step([hand(0), hand(1)], generation=1, may_start=False) == Step()


def test_fewer_are_wanted_than_there_are() -> None:
    assert step([hand(0), hand(1), hand(2)], wanted=1) == Step(leave=(0,))


def test_nobody_is_started_when_none_is_wanted() -> None:
    assert step([hand(0, leave_by_s=NOW_S + 1)], wanted=0) == Step()


@given(st.integers(1, 6), st.integers(1, 6))
def test_an_exchange_ends_and_never_has_fewer_ready_than_there_were(before: int, wanted: int) -> None:
    hands, fewest = [hand(slot) for slot in range(before)], before
    for _ in range(100):
        found = step(hands, wanted, generation=1)
        hands = [replace(one, leave_by_s=NOW_S + 1) if one.slot in found.leave else one for one in hands]
        fewest = min(fewest, sum(one.leave_by_s is None for one in hands))
        for slot in free_slots([one.slot for one in hands], found.start):
            hands.append(hand(slot, generation=1))
        if found == Step():
            if not any(one.leave_by_s for one in hands):
                break
            hands = [one for one in hands if one.leave_by_s is None]
    assert [one.generation for one in hands] == [1] * wanted
    assert fewest >= min(before, wanted)


def test_the_first_one_that_fails_is_replaced_at_once_and_then_ever_later() -> None:
    pauses = [pause_s(failures) for failures in range(12)]
    assert pauses[:4] == [0, 0, 0.5, 1]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10


def test_who_was_at_work_for_a_while_did_well() -> None:
    assert did_well(hand(0, started_s=NOW_S - 11), NOW_S)
    assert not did_well(hand(0, started_s=NOW_S - 9), NOW_S)
    assert not did_well(hand(0, started_s=NOW_S - 60, state="starting"), NOW_S)


def test_the_lowest_free_slots_are_taken() -> None:
    assert free_slots((0, 2, 3), 3) == [1, 4, 5]
    assert free_slots((), 2) == [0, 1]
    assert free_slots((1,), 0) == []
