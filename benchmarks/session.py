"""The whole of a measurement: everything started side by side, then measured in turns, A B A B, so that a noisy
minute falls on all alike.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.chat import KINDS, Kind
from benchmarks.client import BadAnswer, check
from benchmarks.footprint import Footprint, measure_footprint
from benchmarks.load import warm_up
from benchmarks.measure import Figures, measure_cost, measure_latency
from benchmarks.procfs import rss_bytes
from benchmarks.servers import CannotStart, Cores, Running, ask, server, upstream
from benchmarks.subjects import FLOOR, WAYSTATION, Subject, find

DIRECT: Final = "direct"
_WARM_UP_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure and for how long."""

    subjects: tuple[Subject, ...]
    runs: int
    seconds: int  #: of full load, for each subject and kind, in each run
    latency_s: float  #: of one request after the other, likewise
    starts: int  #: of this gateway, for its footprint; 0 leaves it out


@dataclass(slots=True)
class Results:
    """What came of it."""

    figures: dict[tuple[str, Kind], Figures] = field(default_factory=dict)
    loaded_rss_bytes: dict[str, int] = field(default_factory=dict)  #: by subject, after all load
    notes: dict[str, str] = field(default_factory=dict)  #: by subject: why it, or a part of it, is missing
    footprint: Footprint | None = None


class Session:
    """One measurement under way."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        """`directory` takes configs, logs and scripts."""
        self._plan = plan
        self._directory = directory
        self._cores = Cores.choose()
        self._results = Results()

    def run(self) -> Results:
        """Measure. Raises CannotStart, BadAnswer when the floor or this gateway fails; a peer's failure is noted."""
        os.sched_setaffinity(0, {self._cores.load})
        with contextlib.ExitStack() as stack:
            direct = stack.enter_context(upstream(self._cores.load, self._directory))
            self._measure_footprint(direct)
            started = [self._start(stack, subject, direct) for subject in self._plan.subjects]
            running = [direct, *(one for one in started if one is not None)]
            for one in running:
                self._warm_up(one)
            for number in range(1, self._plan.runs + 1):
                for kind in KINDS:
                    _say(f"run {number} of {self._plan.runs}: {kind}")
                    self._measure_in_turn(running, kind)
            for one in running[1:]:
                self._results.loaded_rss_bytes[one.name] = rss_bytes(one.pid)
        return self._results

    def _measure_footprint(self, direct: Running) -> None:
        executable = find(WAYSTATION)
        if self._plan.starts and executable is not None and WAYSTATION in self._plan.subjects:
            _say(f"starting {WAYSTATION.name} {self._plan.starts} times")
            port, core = direct.calls["json"].port, self._cores.gateway
            self._results.footprint = measure_footprint(executable, port, core, self._directory, self._plan.starts)

    def _start(self, stack: contextlib.ExitStack, subject: Subject, direct: Running) -> Running | None:
        executable = find(subject)
        if executable is None:
            self._results.notes[subject.name] = "not installed"
            return None
        _say(f"starting {subject.name}")
        port = direct.calls["json"].port
        try:
            return stack.enter_context(server(subject, executable, port, self._cores.gateway, self._directory))
        except (CannotStart, BadAnswer) as error:
            self._give_up(subject.name, str(error), error)
            return None

    def _warm_up(self, one: Running) -> None:
        _say(f"warming up {one.name}")
        for kind in KINDS:
            try:
                check(ask(one.calls[kind]), kind)
                warm_up(one.calls[kind], _WARM_UP_S)
            except (BadAnswer, OSError) as error:
                self._give_up(one.name, f"{kind}: {error}", error)
            else:
                self._results.figures[one.name, kind] = Figures()

    def _measure_in_turn(self, running: list[Running], kind: Kind) -> None:
        for one in running:
            figures = self._results.figures.get((one.name, kind))
            if figures is None:
                continue
            try:
                figures.costs.append(measure_cost(one, kind, self._plan.seconds, self._directory))
                measure_latency(one, kind, self._plan.latency_s, figures)
            except (BadAnswer, OSError) as error:
                del self._results.figures[one.name, kind]
                self._give_up(one.name, f"{kind}: {error}", error)

    def _give_up(self, name: str, reason: str, error: Exception) -> None:
        if name in (DIRECT, FLOOR.name, WAYSTATION.name):
            raise error
        self._results.notes[name] = " ".join(reason.split())[:200]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
