import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date
from pathlib import Path
from time import sleep

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.accounting import ledger as module
from proxy.accounting import reader
from proxy.accounting.frames import frame
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar
from proxy.state import (
    Booking,
    Folded,
    Intent,
    Position,
    Settlement,
    Span,
    SqliteLedger,
    SqliteReports,
    StateFailed,
    encode_entry,
)
from tests.books import MORNING_MS, MORNING_S, NOVEMBER, WrittenJournal, attempt, intent, settlement
from tests.fakes import HandClock


class FailingStore(SqliteLedger):
    """A store whose disk can be full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_full = False
        self.tries = 0
        self.folded: list[str] = []  #: ids of the calls that were to be booked

    def fold(self, opened: Sequence[Intent], bookings: Iterable[Booking], position: Position) -> Folded:
        if self.is_full:
            raise StateFailed("the disk is full")
        self.tries += 1
        return super().fold(opened, map(self._note, bookings), position)

    def _note(self, booking: Booking) -> Booking:
        self.folded.append(booking.settlement.call_id)
        return booking


class Gateway:
    """Journal, ledger and store of one gateway, which can die and be started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HandClock(MORNING_S + 1)
        self.reports = SqliteReports(folder / "books.db")
        self.start()

    def start(self) -> None:
        self.journal = WrittenJournal(self.folder / "journal")
        self.store = FailingStore(self.folder / "books.db")
        self.ledger = Ledger(self.journal, self.store, Calendar(UTC), 600, self.clock)

    def die(self) -> None:
        self.journal.die()
        self.store.close()

    def restart(self) -> None:
        self.die()
        self.start()
        self.ledger.recover()
        self.ledger.fold()

    def cost_nusd(self, span: Span = NOVEMBER) -> int:
        return sum(line.sums.cost_nusd for line in self.reports.sums(span))

    def calls(self) -> int:
        return sum(line.sums.calls for line in self.reports.sums(NOVEMBER))

    def files(self) -> list[str]:
        return [path.suffix for path in sorted((self.folder / "journal").iterdir()) if path.name != "lock"]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.die()


def test_what_is_in_the_journal_comes_into_the_books(gateway: Gateway) -> None:
    gateway.ledger.fold()  # nothing yet
    gateway.journal.write(intent("a"), intent("b"), settlement("a"))
    gateway.ledger.fold()
    gateway.ledger.fold()
    assert gateway.reports.call("a") == settlement("a")
    assert gateway.reports.call("b") is None
    gateway.journal.write(settlement("b"))
    gateway.ledger.fold()
    assert gateway.reports.call("b") == settlement("b")
    assert list(gateway.store.open_calls(2**62, 10)) == []


def test_an_intent_goes_into_the_books_only_when_it_has_grown_old(gateway: Gateway) -> None:
    gateway.journal.write(intent("short"), intent("long"))
    gateway.ledger.fold()
    gateway.ledger.give_up_leases()
    gateway.journal.write(settlement("short"))
    gateway.ledger.fold()
    assert list(gateway.store.open_calls(2**62, 10)) == []
    gateway.ledger.give_up_leases()
    assert list(gateway.store.open_calls(2**62, 10)) == [intent("long")]
    gateway.journal.write(settlement("long"))
    gateway.ledger.fold()
    assert list(gateway.store.open_calls(2**62, 10)) == []
    assert gateway.calls() == 2


def test_settlements_that_are_known_to_be_booked_are_not_looked_at_again(gateway: Gateway) -> None:
    gateway.journal.write(intent("open"), settlement("a"))
    gateway.journal.rotate()
    gateway.journal.write(settlement("b"))
    gateway.ledger.fold()
    gateway.journal.write(settlement("c"))
    gateway.restart()
    assert gateway.store.folded == ["c", "open"]
    assert gateway.calls() == 4


def test_a_journal_of_entries_that_are_objects_is_brought_in(gateway: Gateway) -> None:
    for kind, entry in ((b"I", intent("a")), (b"S", settlement("a")), (b"I", intent("b"))):
        gateway.journal.tear(frame(kind + orjson.dumps(entry)))
    gateway.restart()
    assert gateway.reports.call("a") == settlement("a")
    assert (gateway.calls(), gateway.cost_nusd(), gateway.ledger.refused) == (2, 1500, 0)


def test_one_record_that_cannot_be_booked_costs_a_few_tries_only(gateway: Gateway) -> None:
    gateway.journal.write(*(settlement(str(number)) for number in range(500)))
    gateway.journal.write(settlement("bad", status="fine"))
    gateway.journal.write(*(settlement(str(number)) for number in range(500, 1000)))
    gateway.ledger.fold()
    assert (gateway.calls(), gateway.ledger.refused) == (1000, 1)
    assert gateway.store.tries < 30


def test_an_orphan_that_cannot_be_booked_is_not_tried_without_end(gateway: Gateway) -> None:
    gateway.store.fold([replace(intent("bad"), model=["chat"])], (), Position())  # type: ignore[arg-type]
    gateway.ledger.recover()
    assert (gateway.ledger.refused, gateway.ledger.orphaned) == (1, 0)


def test_segments_are_removed_once_all_of_them_is_in_the_books(gateway: Gateway) -> None:
    gateway.journal.write(settlement("a"))
    gateway.ledger.fold()
    gateway.journal.write(settlement("b"))
    gateway.journal.rotate()
    gateway.journal.write(settlement("c"))
    gateway.ledger.fold()
    assert gateway.calls() == 3
    for _ in range(2):  # intents that are in them may wait in memory for their settlement so long
        assert len(gateway.journal.segments.names()) == 2
        gateway.ledger.give_up_leases()
    assert gateway.journal.segments.names() == [gateway.journal.position.segment]


def test_what_an_earlier_process_left_is_brought_in_and_what_it_had_under_way_is_given_up(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.journal.write(intent("done"), intent("under way", cost_nusd=7000))
    gateway.ledger.fold()
    gateway.journal.write(settlement("done"), intent("begun late", began_ms=MORNING_MS + 10**8))
    gateway.restart()
    assert gateway.reports.call("done") == settlement("done")
    for name in ("under way", "begun late"):
        orphan = gateway.reports.call(name)
        assert orphan is not None
        assert orphan.is_orphan
    assert gateway.cost_nusd() == 500 + 7000 + 1000
    assert gateway.ledger.orphaned == 2
    assert "2 calls were never settled" in caplog.text
    assert gateway.files() == []
    gateway.restart()
    assert gateway.calls() == 3


def test_a_torn_end_is_skipped_with_a_warning_and_the_rest_is_kept(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.journal.write(settlement("a"))
    torn = frame(encode_entry(settlement("b")))[:-1]
    gateway.journal.tear(torn)
    gateway.restart()
    assert gateway.calls() == 1
    assert (gateway.ledger.torn_bytes, gateway.ledger.damaged_bytes) == (len(torn), 0)
    assert f"ends in {len(torn)} bytes that are no record" in caplog.text
    assert gateway.files() == []


def test_damage_in_the_midst_is_skipped_and_the_segment_set_aside(gateway: Gateway) -> None:
    gateway.journal.write(settlement("a"))
    gateway.journal.tear(b"rubbish")
    gateway.journal.tear(frame(encode_entry(settlement("b"))))
    gateway.restart()
    assert gateway.calls() == 2
    assert (gateway.ledger.torn_bytes, gateway.ledger.damaged_bytes) == (0, 7)
    assert gateway.files() == [".damaged"]


def test_records_that_cannot_be_booked_are_counted_and_the_others_go_in(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.journal.tear(frame(b"X{}"))
    gateway.journal.tear(frame(encode_entry(settlement("year 140000", began_ms=2**52))))
    gateway.journal.tear(frame(encode_entry(settlement("no status", status="fine"))))
    gateway.journal.tear(frame(encode_entry(intent("no time")).replace(str(MORNING_MS).encode(), b'"soon"')))
    gateway.journal.write(intent("open"), settlement("a"), settlement("b"))
    gateway.restart()
    assert gateway.ledger.refused == 4
    assert gateway.calls() == 3  # with the orphan
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 4


def test_books_that_cannot_be_written_lose_nothing(gateway: Gateway) -> None:
    gateway.journal.write(settlement("a"))
    gateway.store.is_full = True
    with pytest.raises(StateFailed):
        gateway.ledger.fold()
    gateway.journal.rotate()
    gateway.journal.write(settlement("b"))
    with pytest.raises(StateFailed):
        gateway.ledger.fold()
    assert len(gateway.files()) == 2
    gateway.store.is_full = False
    gateway.ledger.fold()
    assert gateway.calls() == 2


def test_a_journal_begun_anew_is_not_taken_for_the_old_one(gateway: Gateway) -> None:
    gateway.journal.write(settlement("a"), settlement("b"))
    gateway.ledger.fold()
    gateway.die()
    for path in (gateway.folder / "journal").iterdir():
        path.unlink()
    gateway.start()
    gateway.journal.write(settlement("c"))
    gateway.ledger.recover()
    gateway.ledger.fold()
    assert gateway.calls() == 3


def test_books_restored_from_a_backup_take_in_what_the_journal_still_has(gateway: Gateway) -> None:
    gateway.journal.write(settlement("a"))
    gateway.ledger.fold()
    gateway.store.backup(gateway.folder / "copy.db")
    gateway.journal.write(settlement("b"))
    gateway.ledger.fold()
    gateway.die()
    for path in gateway.folder.glob("books.db*"):
        path.unlink()
    (gateway.folder / "copy.db").rename(gateway.folder / "books.db")
    gateway.start()
    gateway.ledger.recover()
    assert gateway.calls() == 2


def test_a_call_that_is_never_settled_is_given_up_after_its_lease(gateway: Gateway) -> None:
    gateway.ledger.recover()
    gateway.journal.write(intent("a", cost_nusd=900))
    gateway.ledger.fold()
    gateway.clock.now = MORNING_S + 600
    gateway.ledger.give_up_leases()
    assert gateway.calls() == 0
    gateway.clock.now += 1
    gateway.ledger.give_up_leases()
    assert gateway.cost_nusd() == 900
    gateway.journal.write(settlement("a"))  # it was only very slow
    gateway.ledger.fold()
    assert (gateway.calls(), gateway.cost_nusd()) == (1, 500)
    assert gateway.reports.drift(NOVEMBER) == []


def test_what_becomes_known_of_a_closed_month_is_booked_now(gateway: Gateway) -> None:
    gateway.clock.now += 20 * 86_400  # it is December
    gateway.journal.write(settlement("a"))
    gateway.ledger.fold()
    assert gateway.calls() == 0
    assert gateway.cost_nusd(Span(date(2026, 12, 1), date(2027, 1, 1))) == 500


def test_large_journals_are_read_piece_by_piece(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_READ_BYTES", 1000)
    gateway.journal.write(*(settlement(str(number)) for number in range(50)))
    gateway.ledger.fold()
    assert gateway.calls() == 50
    gateway.journal.write(settlement("more", attempt(upstream_id="x" * 5000)))
    gateway.restart()
    assert gateway.calls() == 51


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        sleep(0.001)


def test_the_thread_recovers_folds_and_brings_in_the_rest_when_it_ends(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.001)
    gateway.journal.write(settlement("earlier"), intent("under way"))
    gateway.die()
    gateway.start()
    gateway.ledger.start()
    until(lambda: gateway.calls() == 2)
    gateway.store.is_full = True
    gateway.journal.write(settlement("a"))
    until(lambda: gateway.ledger.is_behind)
    gateway.store.is_full = False
    until(lambda: not gateway.ledger.is_behind)
    assert gateway.calls() == 3
    gateway.journal.write(settlement("last"))
    gateway.ledger.close()
    assert gateway.calls() == 4
    assert "ledger: up to date again" in caplog.text


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("intend"), st.integers(0, 4)),
        st.tuples(st.just("settle"), st.integers(0, 4)),
        st.tuples(st.just("tear"), st.integers(1, 150)),
        st.tuples(st.sampled_from(["fold", "rotate", "restart", "lease", "forget"]), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_each_call_counts_once_wherever_the_process_dies(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    gateway.ledger.recover()
    begun: set[str] = set()
    settled: set[str] = set()
    for step, number in steps:
        call_id = str(number)
        if step == "intend":
            gateway.journal.write(intent(call_id))
            begun.add(call_id)
        elif step == "settle":
            gateway.journal.write(settlement(call_id))
            settled.add(call_id)
        elif step == "tear":  # the process dies while it writes
            gateway.journal.tear(frame(encode_entry(settlement("torn")))[:number])
            gateway.restart()
        elif step == "fold":
            gateway.ledger.fold()
        elif step == "rotate":
            gateway.journal.rotate()
        elif step == "lease":
            gateway.clock.advance(601)
            gateway.ledger.fold()
            gateway.ledger.give_up_leases()
        elif step == "forget":  # the position is as it was before: all that is there is read once more
            gateway.store.fold((), (), Position())
            gateway.restart()
        else:
            gateway.restart()
    gateway.restart()
    assert gateway.calls() == len(begun | settled)
    assert gateway.cost_nusd() == 500 * len(settled) + 1000 * len(begun - settled)
    assert gateway.reports.drift(NOVEMBER) == []
    for call_id in settled:
        found = gateway.reports.call(call_id)
        assert isinstance(found, Settlement)
        assert not found.is_orphan
    gateway.die()
