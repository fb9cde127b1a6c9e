from dataclasses import replace

import orjson
import pytest

from proxy.state import EntryRefused, Folded, orphan_of
from proxy.state.redis_batch import BATCH, Batch, Known
from proxy.state.redis_entries import STAMP_BYTES, encode_kept, hour_of
from tests.books import MORNING_MS, PAYER, attempt, booking, intent, settlement

PERIODS = ("day:2026-11-21", 1, "week:2026-11-16", 2, "month:2026-11-01", 3)
HOUR = hour_of(MORNING_MS)
ORPHAN = bytes(STAMP_BYTES) + encode_kept(booking(orphan_of(intent("a"), MORNING_MS)))
SETTLED = bytes(STAMP_BYTES) + encode_kept(booking(settlement("a")))


def batch(*call_ids: str) -> Batch:
    made = Batch("search", lambda began_s: PERIODS)
    for call_id in call_ids:
        made.book(booking(settlement(call_id)))
    return made


def parts(made: Batch) -> list[list[list[object]]]:
    """Periods, calls, names, counts and sums, as the script is given them."""
    found: list[list[list[object]]] = orjson.loads(made.words()[0])  # type: ignore[arg-type]
    return found


def test_a_script_is_given_calls_counts_and_what_they_add_up_to() -> None:
    made = batch("a", "b")
    periods, calls, names, counts, sums = parts(made)
    assert periods == [list(PERIODS)]
    assert calls == [[HOUR, name, 0, HOUR, "", MORNING_MS + 100] for name in ("a", "b")]
    assert [name[1] for name in names] == ["a", "b"]  # these ids say nothing of when they were made
    assert counts == [[1, name, "ci", "chat", 500, 30] for name in ("a", "b")]
    assert [(one[0], one[1]) for one in sums] == [("2026-11-21:env", HOUR), ("2026-11-21", HOUR)]
    assert sums[1][3] == [0, 2, 2, 2, 3, 1000, 4, 1000, 5, 1000, 6, 20, 10, 40]
    assert len(made.words()) == 1 + len(made) == 3
    assert made.folded == Folded(booked=2)


def test_an_id_that_says_when_it_was_made_needs_no_other_name() -> None:
    call_id = f"req_{MORNING_MS:012x}{7:020x}"
    assert parts(batch(call_id))[2] == []
    made = Batch("search", lambda began_s: PERIODS)
    made.book(booking(settlement(call_id, request_id="mine")))
    assert [name[1] for name in parts(made)[2]] == ["mine"]


def test_a_batch_takes_so_many_calls_and_each_once() -> None:
    made = batch(*map(str, range(BATCH - 1)))
    assert made.takes("new")
    assert not made.takes("0")
    made.book(booking(settlement("new")))
    assert not made.takes("another")


def test_what_is_known_already_is_left_out() -> None:
    rest, ignored = batch("a", "b").without([Known(0, SETTLED, None)])
    assert [call[1] for call in parts(rest)[1]] == ["b"]
    assert (rest.folded, ignored) == (Folded(booked=1), 1)


def test_an_orphan_that_is_known_is_replaced() -> None:
    rest, ignored = batch("a").without([Known(0, ORPHAN, None)])
    _, calls, _, counts, sums = parts(rest)
    assert (rest.folded, ignored) == (Folded(adjusted=1), 0)
    assert calls[0][1:3] == ["a", 1]
    assert counts == [[1, "", "ci", "chat", -1000, -100], [1, "", "ci", "chat", 500, 30]]
    assert len(sums) == 4  # the orphan's group and the call's, each by tag too


def test_nothing_replaces_what_is_settled_and_no_orphan_replaces_anything() -> None:
    assert len(batch("a").without([Known(0, ORPHAN, SETTLED)])[0]) == 0
    orphans = Batch("search", lambda began_s: PERIODS)
    orphans.book(booking(orphan_of(intent("a"), MORNING_MS)))
    assert len(orphans.without([Known(0, ORPHAN, None)])[0]) == 0


def test_what_was_to_replace_an_orphan_still_does_when_another_call_is_in_the_way() -> None:
    both, _ = batch("a", "b").without([Known(0, ORPHAN, None)])
    rest, ignored = both.without([Known(1, SETTLED, None)])
    assert (rest.folded, ignored) == (Folded(adjusted=1), 1)
    gone, _ = rest.without([Known(0, None, None)])  # Redis has forgotten the orphan
    assert gone.folded == Folded(booked=1)


def test_a_number_that_a_double_can_not_hold_goes_as_text() -> None:
    made = Batch("search", lambda began_s: PERIODS)
    for call_id in ("a", "b"):
        made.book(booking(settlement(call_id, attempt(cost_nusd=2**53 - 1), payer=replace(PAYER, tags={}))))
    assert parts(made)[4][0][3][5] == str(2 * (2**53 - 1))  # type: ignore[index]


def test_attempts_that_come_to_more_than_an_entry_may_hold_are_refused() -> None:
    with pytest.raises(EntryRefused, match="come to more"):
        Batch("search", lambda began_s: PERIODS).book(booking(settlement("a", *[attempt(cost_nusd=2**53 - 1)] * 2)))
