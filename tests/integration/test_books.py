"""The books survive what happens to processes and disks: kill -9 under load, and a disk that is full for a while."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from time import time

import pytest

from proxy.accounting.journal import Journal
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar
from proxy.state import Span, SqliteLedger, SqliteReports

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
KILLS = 24
COST_NUSD = {False: 500, True: 1000}  # of a call that was settled; of an orphan


def lately() -> Span:
    today = datetime.now(UTC).date()
    return Span(today - timedelta(days=2), date(today.year + 1, 12, 31))


def bookkeeper(*arguments: str | Path) -> Sequence[str | Path]:
    return sys.executable, "-m", "tests.integration.bookkeeper", *arguments


def settle_and_be_killed(folder: Path, acknowledgements: int) -> list[str]:
    """Ids of the calls that were said to be written before the process was killed."""
    with subprocess.Popen(bookkeeper("settle", folder), stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        said += process.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


def test_no_settled_call_is_lost_or_counted_twice_whenever_the_process_is_killed(tmp_path: Path) -> None:
    rng = Random(24)
    said = [call_id for _ in range(KILLS) for call_id in settle_and_be_killed(tmp_path, rng.randrange(1, 400))]
    assert len(said) == len(set(said)) > 10 * KILLS
    journal = Journal(tmp_path / "journal")
    store = SqliteLedger(tmp_path / "books.db")
    ledger = Ledger(journal, store, Calendar(UTC), 3600, time)
    ledger.recover()
    reports = SqliteReports(tmp_path / "books.db")
    missing = [call_id for call_id in said if (found := reports.call(call_id)) is None or found.is_orphan]
    assert missing == []
    by_error = {line.group[0]: line.sums for line in reports.sums(lately(), ("error",))}
    assert by_error[""].calls >= len(said)
    assert by_error[""].calls == len(distinct(store))
    assert all(sums.cost_nusd == sums.calls * COST_NUSD[bool(error)] for error, sums in by_error.items())
    assert reports.drift(lately()) == []
    assert ledger.damaged_bytes == ledger.refused == 0
    assert journal.segments.names() == []
    journal.close()
    journal.release()
    store.close()


def distinct(store: SqliteLedger) -> set[str]:
    """Ids of the calls that are booked as settled."""
    rows = store._connection.execute("SELECT call_id FROM calls WHERE error IS NULL")
    return {call_id for (call_id,) in rows}


def test_a_disk_that_is_full_for_a_while_costs_no_call(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    script = 'mount -t tmpfs -o size=128k none "$1" && shift && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path / "full", *bookkeeper("fill", tmp_path)]
    try:
        subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", tmp_path / "full"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=50)
    entered, kept, lost, unwritten = (int(word) for word in result.stdout.split())
    assert (lost, unwritten) == (0, 0)
    assert kept >= 1
    assert sum(line.sums.calls for line in SqliteReports(tmp_path / "books.db").sums(lately())) == entered
