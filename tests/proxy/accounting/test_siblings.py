from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from proxy.accounting.segments import Segments
from proxy.accounting.siblings import LapsedClaims, LeftJournal, Siblings, take_journal
from proxy.state import Intent, Position, StateFailed, StateUnusable
from tests.books import MORNING_S, WrittenJournal, intent, settlement
from tests.fakes import HandClock


def leave(folder: Path, *call_ids: str) -> None:
    """A journal whose process died."""
    journal = WrittenJournal(folder)
    journal.write(*map(settlement, call_ids))
    journal.die()


class Heir:
    """Notes what it is given, and removes it."""

    def __init__(self, root: Path) -> None:
        self.siblings = Siblings(root, root / "0", self)
        self.given: list[tuple[str, int]] = []
        self.is_failing = False

    def __call__(self, left: LeftJournal) -> None:
        self.given.append((left.segments.folder.name, len(left.earlier)))
        assert left.position == Position()
        if self.is_failing:
            raise StateFailed("Redis is away")
        for name in left.earlier:
            left.segments.drop(name)


def test_each_process_takes_the_first_folder_that_nobody_has(tmp_path: Path) -> None:
    first, second = take_journal(tmp_path), take_journal(tmp_path)
    third = take_journal(tmp_path, first=5)
    assert [one.segments.folder for one in (first, second, third)] == [tmp_path / name for name in ("0", "1", "5")]
    first.close()
    first.release()
    again = take_journal(tmp_path)
    assert again.segments.folder == tmp_path / "0"
    for one in (second, third, again):
        one.close()
        one.release()


def test_a_folder_that_can_not_be_used_is_no_reason_to_try_the_next(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("a file")
    with pytest.raises(StateUnusable, match="can't be used"):
        take_journal(tmp_path)


def test_what_the_dead_left_is_adopted_once(tmp_path: Path) -> None:
    leave(tmp_path, "alone before")
    for name in ("0", "1", "12"):
        leave(tmp_path / name, name)
    leave(tmp_path / "backup", "not ours")
    (tmp_path / "2").mkdir()
    (tmp_path / "3").write_text("a file")
    heir = Heir(tmp_path)
    assert heir.siblings.adopt() == 3
    assert heir.given == [(tmp_path.name, 1), ("1", 1), ("12", 1)]  # its own is not among them
    assert heir.siblings.adopt() == 0


def test_the_living_are_left_alone(tmp_path: Path) -> None:
    living = WrittenJournal(tmp_path / "1")
    living.write(settlement("a"))
    heir = Heir(tmp_path)
    assert heir.siblings.adopt() == 0
    living.die()
    assert heir.siblings.adopt() == 1


def test_whoever_fails_leaves_it_to_the_next(tmp_path: Path) -> None:
    leave(tmp_path / "1", "a")
    heir, next_one = Heir(tmp_path), Heir(tmp_path)
    heir.is_failing = True
    with pytest.raises(StateFailed):
        heir.siblings.adopt()
    assert next_one.siblings.adopt() == 1


def test_a_folder_that_can_not_be_used_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave(tmp_path / "1", "a")
    leave(tmp_path / "2", "b")
    (tmp_path / "1" / "lock").unlink()
    (tmp_path / "1" / "lock").mkdir()
    heir = Heir(tmp_path)
    assert [heir.siblings.adopt() for _ in range(2)] == [1, 0]
    assert heir.given == [("2", 1)]
    assert caplog.text.count("can't be used") == 1


def test_the_lock_is_held_meanwhile(tmp_path: Path) -> None:
    leave(tmp_path / "1", "a")
    tried: list[bool] = []

    def recover(left: LeftJournal) -> None:
        with pytest.raises(StateUnusable):
            Segments(tmp_path / "1")
        tried.append(True)

    assert Siblings(tmp_path, tmp_path / "0", recover).adopt() == 1
    assert tried == [True]
    Segments(tmp_path / "1").release()


class Claims:
    """What lapsed, and who was given up."""

    def __init__(self) -> None:
        self.clock = HandClock(MORNING_S)
        self.lapsed: Sequence[Intent] = ()
        self.given_up: list[str] = []
        self.asked = 0
        self.told: list[list[str]] = []
        self.is_failing = False
        self.claims = LapsedClaims(self._ask, self._give_up, self.clock)

    def _ask(self, given_up: Collection[str]) -> Sequence[Intent]:
        self.asked += 1
        self.told.append(sorted(given_up))
        return self.lapsed

    def _give_up(self, intents: Sequence[Intent]) -> None:
        if self.is_failing:
            raise StateFailed("Redis is full")
        self.given_up += [one.call_id for one in intents]

    def after(self, seconds: float) -> list[str]:
        self.clock.advance(seconds)
        self.claims.look()
        return self.given_up


def test_claims_that_lapsed_are_given_up() -> None:
    claims = Claims()
    assert claims.after(0) == []
    claims.lapsed = [intent("a"), intent("b")]
    assert claims.after(10) == ["a", "b"]


def test_only_those_that_could_be_booked_are_said_to_be() -> None:
    claims = Claims()
    claims.lapsed = [intent("a"), intent("b")]
    claims.is_failing = True
    with pytest.raises(StateFailed):
        claims.after(10)
    claims.is_failing = False
    assert claims.after(10) == ["a", "b"]
    claims.after(10)
    assert claims.told == [[], [], ["a", "b"]]


def test_they_are_looked_for_now_and_then_only() -> None:
    claims = Claims()
    for _ in range(5):
        claims.after(3)
    assert claims.asked == 2
