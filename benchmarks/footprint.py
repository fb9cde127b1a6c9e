"""What this gateway takes before anybody asks: the time to import, to start and to answer once, and the memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.procfs import rss_bytes
from benchmarks.servers import server
from benchmarks.subjects import ROOT, WAYSTATION

#: Long enough for what a start leaves behind (a first collection, an idle thread) to be over.
_SETTLE_S: Final = 0.5
_IMPORT: Final = "import time; at = time.perf_counter(); import proxy.cli; print(time.perf_counter() - at)"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Medians."""

    import_s: float  #: the command's modules, in a fresh interpreter, bytecode compiled before
    start_s: float  #: from the start of the process to the end of the first answer
    idle_rss_bytes: int  #: after that answer


def measure_footprint(executable: Path, upstream_port: int, core: int, directory: Path, starts: int) -> Footprint:
    """Start it so many times. Raises CannotStart, BadAnswer."""
    imports = [_import_s(core) for _ in range(starts)]
    started, memory = [], []
    for _ in range(starts):
        with server(WAYSTATION, executable, upstream_port, core, directory) as running:
            started.append(running.started_in_s)
            time.sleep(_SETTLE_S)
            memory.append(rss_bytes(running.pid))
    return Footprint(statistics.median(imports), statistics.median(started), int(statistics.median(memory)))


def _import_s(core: int) -> float:
    pinned = f"import os; os.sched_setaffinity(0, {{{core}}}); {_IMPORT}"
    ended = subprocess.run(
        [sys.executable, "-c", pinned],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(ended.stdout)
