"""The parent of several workers: forks them, replaces those that end, exchanges them one after the other on SIGHUP, and
tells them to drain on SIGTERM.

It has no event loop and no thread, so that it may fork at any time, and takes no part in any call. It and each worker
share a pipe: the parent writes orders into it, and its end means that the parent is gone.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from proxy.cli.orders import DRAIN, DRAIN_NOW, HURRY, LEAVE
from proxy.cli.source import LastGood
from proxy.cli.staffing import Hand, decide, did_well, free_slots, pause_s
from proxy.config import Config, ConfigFaults
from proxy.observe import Board, Crew, buried

#: A worker's exit code if what it needs can't be opened; it has said why.
CANNOT_START: Final = 3

MAX_WORKERS: Final = 256
#: While workers are exchanged there are more; those that are slow to end keep their slots.
_SLOTS: Final = 2 * MAX_WORKERS
#: How long the parent sleeps if nothing happens, and while it waits for workers to become ready, in seconds.
_TICK_S: Final = 0.5
_SHORT_TICK_S: Final = 0.02
#: A parent that overslept by so much did not hear its workers meanwhile, in seconds: the machine stood still.
_ABSENT_S: Final = 5.0
#: What a worker may take to end beyond `server.drain_delay` and `server.drain`, in seconds.
_GRACE_S: Final = 15.0
#: If so many fail in a row before all were ready once, the server does not start.
_HOPELESS: Final = 5
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    pid: int
    orders: int  #: the writing end of its pipe
    generation: int
    started_s: float
    leave_by_s: float | None = None
    is_killed: bool = False


class Workers:
    """All workers of one server."""

    def __init__(
        self,
        good: LastGood,
        sockets: Sequence[socket.socket],
        count: Callable[[Config], int],
        work: Callable[[Crew], int],
        announce: Callable[[int], None],
    ) -> None:
        """`count`: how many workers a config asks for; raises ValueError if that can't be. `work`: what a worker does,
        in a process of its own; gives its exit code. `announce` is told once that so many are ready.
        """
        self._good = good
        self._sockets = sockets
        self._count = count
        self._work = work
        self._announce = announce
        self._wanted = count(good.loaded.config)
        self._generation = 0
        self._board = Board(_SLOTS)
        self._workers: dict[int, _Worker] = {}
        self._failures = 0
        self._start_at_s = self._refresh_at_s = 0.0
        self._stopping: bytes | None = None
        self._exit_code = 0
        self._bell, self._ringer = socket.socketpair()

    def run(self) -> int:
        """Serve until told to stop; gives the exit code. In a worker it never returns: it ends with SystemExit."""
        for end in (self._bell, self._ringer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # the number comes out of the bell
        # What workers share stays shared as long as nobody writes to it, and the collector does.
        gc.collect()
        gc.freeze()
        awake_s = attentive_since_s = monotonic()
        while True:
            self._reap()
            if self._stopping is not None and not self._workers:
                return self._exit_code
            now_s = monotonic()
            if now_s - awake_s > _ABSENT_S:
                attentive_since_s = now_s
            awake_s = now_s
            self._refresh(now_s)
            self._step(now_s, attentive_since_s)
            self._open()
            self._sleep(now_s)

    def _step(self, now_s: float, attentive_since_s: float) -> None:
        """Bring the workers nearer to what they should be."""
        hands = [
            Hand(slot, one.generation, one.started_s, standing.state, standing.beat_s, one.leave_by_s)
            for slot, one in self._workers.items()
            for standing in [self._board.standing(slot)]
        ]
        wanted = 0 if self._stopping is not None else self._wanted
        may_start = now_s >= self._start_at_s
        step = decide(hands, wanted, self._generation, now_s, may_start=may_start, attentive_since_s=attentive_since_s)
        for slot, reason in step.kill.items():
            self._kill(slot, reason)
        for slot in step.leave:
            self._tell(slot, LEAVE)
        for slot in free_slots(tuple(self._workers), step.start):
            self._hire(slot)

    def _hire(self, slot: int) -> None:
        """Start a worker. Returns in the parent only."""
        started_s = monotonic()
        self._board.assign(slot, started_s)
        reading, writing = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or both processes would write what is in it
        # A signal that reaches the child before it has let go of the parent's bell would ring it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(reading)
            os.close(writing)
            self._board.clear(slot)
            self._failed(started_s)
            _logger.error("worker %d can't be started: %s", slot, error.strerror)
            return
        if pid == 0:
            os.close(writing)
            self._become_worker()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise SystemExit(self._work(Crew(self._board, slot, reading)))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reading)
        os.set_blocking(writing, False)
        self._board.name(slot, pid)
        self._workers[slot] = _Worker(pid, writing, self._generation, started_s)

    def _become_worker(self) -> None:
        """Let go of all that is the parent's: above all the siblings' pipes, which must end with the parent."""
        for sibling in self._workers.values():
            os.close(sibling.orders)
        signal.set_wakeup_fd(-1)
        self._bell.close()
        self._ringer.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # A terminal sends these to every process; what comes of it is the parent's to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _reap(self) -> None:
        """Take leave of those that have ended."""
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            slot = next((slot for slot, one in self._workers.items() if one.pid == pid), None)
            if slot is not None:  # else it was adopted: the parent may be the first process of a container
                self._part_with(slot, os.waitstatus_to_exitcode(status))

    def _part_with(self, slot: int, code: int) -> None:
        worker, standing, now_s = self._workers.pop(slot), self._board.standing(slot), monotonic()
        os.close(worker.orders)
        self._board.clear(slot)
        self._board.bury(slot, buried(self._board.kept, self._board.sheet(slot)))
        if worker.leave_by_s is not None:
            _logger.info("worker %d (process %d) has ended: %s", slot, worker.pid, _describe(code))
            return
        self._board.deaths += 1
        hand = Hand(slot, worker.generation, worker.started_s, standing.state, standing.beat_s)
        if did_well(hand, now_s):
            self._failures = 0
        else:
            self._failed(now_s)
        is_hopeless = not self._board.opened and (code == CANNOT_START or self._failures >= _HOPELESS)
        what = "the server can't start" if is_hopeless else "another takes its place"
        _logger.error("worker %d (process %d) is gone: %s; %s", slot, worker.pid, _describe(code), what)
        if is_hopeless:
            self._exit_code = 1
            self._stop(DRAIN_NOW)

    def _failed(self, now_s: float) -> None:
        self._failures += 1
        self._start_at_s = now_s + pause_s(self._failures)

    def _kill(self, slot: int, reason: str) -> None:
        worker = self._workers[slot]
        if not worker.is_killed:
            worker.is_killed = True
            _logger.error("worker %d (process %d) is killed: %s", slot, worker.pid, reason)
            os.kill(worker.pid, signal.SIGKILL)

    def _tell(self, slot: int, order: bytes) -> None:
        worker, server = self._workers[slot], self._good.loaded.config.server
        patience_s = _GRACE_S if order == HURRY else _GRACE_S + server.drain_delay_s + server.drain_s
        leave_by_s = monotonic() + patience_s
        worker.leave_by_s = leave_by_s if worker.leave_by_s is None else min(leave_by_s, worker.leave_by_s)
        with contextlib.suppress(OSError):  # it has just ended
            os.write(worker.orders, order)

    def _stop(self, order: bytes) -> None:
        """Have all of them drain; asked twice, without patience."""
        first, self._stopping = self._stopping is None, order
        self._board.draining = True
        for sock in self._sockets:
            sock.close()  # the workers have theirs; nobody may wait in a queue that none of them serves
        for slot in self._workers:
            self._tell(slot, order if first else HURRY)

    def _roll(self) -> None:
        """Exchange all workers for new ones, if the config holds."""
        before = self._good.loaded.config.server
        try:
            config = self._good.reload().config
            wanted = self._count(config)
        except (ConfigFaults, ValueError) as error:
            _logger.error("config rejected, no worker is restarted:\n%s", error)
            return
        if (config.server.listen, config.server.admin_listen) != (before.listen, before.admin_listen):
            _logger.warning("server.listen and server.admin_listen are read at start only: they stay as they were")
        self._generation += 1
        self._wanted = wanted
        _logger.info("%d workers with config %s take over, one after the other", wanted, self._good.loaded.config_hash)

    def _refresh(self, now_s: float) -> None:
        if now_s < self._refresh_at_s:
            return
        self._refresh_at_s = now_s + 1.0
        if self._good.refresh() is not None:
            _logger.warning("the config has a mistake: a worker that starts now gets the last one that held")

    def _open(self) -> None:
        """Tell the world, as soon as all are ready."""
        if self._board.opened or self._stopping is not None:
            return
        if sum(standing.state == "ready" for standing in self._board.standings()) >= self._wanted:
            self._board.opened = True
            self._announce(self._wanted)

    def _sleep(self, now_s: float) -> None:
        """Until something happens, or it is time to look again."""
        is_starting = any(standing.state == "starting" for standing in self._board.standings())
        wait_s = _SHORT_TICK_S if is_starting else _TICK_S
        if self._start_at_s > now_s:
            wait_s = min(wait_s, self._start_at_s - now_s)
        if not select.select([self._bell], [], [], wait_s)[0]:
            return
        for number in self._bell.recv(4096):
            if number == signal.SIGHUP and self._stopping is None:
                self._roll()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(DRAIN if number == signal.SIGTERM else DRAIN_NOW)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"
