"""/proc as Linux writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import procfs

_STAT = "4711 (a (b) c) S 1 4711 4711 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 5 0 1000 9999 88 184467"


def _process(proc: Path, pid: int, *, children: str = "", ticks: int = 0, rss_kb: int = 0) -> None:
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    (folder / "task" / str(pid) / "children").write_text(children)
    (folder / "stat").write_text(f"{pid} (python) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 0 0 0")
    (folder / "status").write_text(f"Name:\tpython\nVmPeak:\t 999999 kB\nVmRSS:\t   {rss_kb} kB\n")


def test_cpu_is_own_time_and_that_of_ended_children_whatever_the_command_is_called() -> None:
    assert procfs.parse_cpu_ticks(_STAT) == 150 + 50 + 30 + 20


def test_resident_memory_is_in_bytes() -> None:
    assert procfs.parse_rss_bytes("VmPeak:\t  900 kB\nVmRSS:\t     88 kB\n") == 88 * 1024


def test_a_process_without_memory_has_none() -> None:
    assert procfs.parse_rss_bytes("Name:\tzombie\nState:\tZ (zombie)\n") == 0


def test_processor_is_named() -> None:
    assert procfs.parse_cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n") == "Some CPU @ 2 GHz"
    assert procfs.parse_cpu_model("Processor : ARM\n") == "unknown processor"


def test_a_family_is_counted_to_the_last_grandchild(tmp_path: Path) -> None:
    _process(tmp_path, 1, children="2 3 ", ticks=10, rss_kb=1)
    _process(tmp_path, 2, children="4 ", ticks=20, rss_kb=2)
    _process(tmp_path, 3, ticks=30, rss_kb=4)
    _process(tmp_path, 4, ticks=40, rss_kb=8)
    assert sorted(procfs.family(1, tmp_path)) == [1, 2, 3, 4]
    assert procfs.cpu_s(1, tmp_path) == 100 / os.sysconf("SC_CLK_TCK")
    assert procfs.rss_bytes(1, tmp_path) == 15 * 1024


def test_a_child_that_has_just_ended_is_no_fault(tmp_path: Path) -> None:
    _process(tmp_path, 1, children="2 ", ticks=7, rss_kb=1)
    assert procfs.cpu_s(1, tmp_path) == 7 / os.sysconf("SC_CLK_TCK")
    assert procfs.rss_bytes(1, tmp_path) == 1024


@pytest.mark.integration
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_real_process_is_found_with_its_child() -> None:
    # The kernel counts in hundredths of a second: what takes less than one may count as nothing.
    work = "from time import process_time\nwhile process_time() < 0.1: pass"
    program = f"{work}\nimport subprocess, sys; subprocess.Popen(['sleep', '30']); print(flush=True); sys.stdin.read()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        members = procfs.family(parent.pid)
        assert len(members) == 2
        assert procfs.cpu_s(parent.pid) > 0
        assert procfs.rss_bytes(parent.pid) > 1_000_000
        os.kill(members[1], 9)
    finally:
        parent.communicate(timeout=10)
