"""Servers are pinned, and ended whatever happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from benchmarks.chat import KINDS
from benchmarks.client import check
from benchmarks.servers import CannotStart, Cores, Running, ask, process, server, upstream
from benchmarks.subjects import FLOOR, Subject, find

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are pinned as Linux does it"),
]


@pytest.fixture
def instant(tmp_path: Path) -> Iterator[Running]:
    with upstream(Cores.choose().load, tmp_path) as running:
        yield running


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_floor_passes_on_what_the_upstream_answers(instant: Running, tmp_path: Path) -> None:
    executable = find(FLOOR)
    assert executable is not None
    core = Cores.choose().gateway
    with server(FLOOR, executable, instant.calls["json"].port, core, tmp_path) as floor:
        assert os.sched_getaffinity(floor.pid) == {core}
        assert floor.started_in_s > 0
        for kind in KINDS:
            direct, through = ask(instant.calls[kind]), ask(floor.calls[kind])
            check(through, kind)
            assert through.body == direct.body
    assert not _is_alive(floor.pid)


def test_a_server_that_ends_is_an_error_with_its_last_words(instant: Running, tmp_path: Path) -> None:
    subject = Subject("broken", (sys.executable,), ("-c", "raise SystemExit('no such setting')"))
    with (
        pytest.raises(CannotStart, match=r"(?s)broken: it ended with code 1.*no such setting"),
        server(subject, Path(sys.executable), instant.calls["json"].port, 0, tmp_path),
    ):
        pass


def test_a_process_that_ignores_the_terms_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.servers._STOP_WITHIN_S", 0.2)
    program = (
        "import os, signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(os.getpid(), child.pid, flush=True); child.wait(); signal.pause()"
    )
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        _interrupt([sys.executable, "-c", program], tmp_path, log)
    parent, child = map(int, log.read_text().split())
    assert not _is_alive(parent)
    deadline = monotonic() + 5
    while not _has_ended(child) and monotonic() < deadline:
        pass
    assert _has_ended(child)


def _interrupt(command: list[str], directory: Path, log: Path) -> None:
    """Ctrl-C once the process has said who it is and who its child is."""
    with process(command, Cores.choose().gateway, directory, log) as running:
        while not log.read_text().endswith("\n"):
            assert running.poll() is None
        raise KeyboardInterrupt


def _has_ended(pid: int) -> bool:
    """Orphans are reaped by whoever adopts them: a zombie has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
