"""Starts the servers under test, each pinned to a core, and ends them whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.chat import KINDS, ChatCall, Kind, chat_call
from benchmarks.client import BadAnswer, Reply, check, connect
from benchmarks.subjects import ROOT, WAYSTATION, Subject, fill, find, values

START_WITHIN_S: Final = 90.0
_POLL_S: Final = 0.002
_STOP_WITHIN_S: Final = 5.0
#: No proxies, no provider keys, nothing that would make two runs differ.
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class CannotStart(Exception):
    """A server ended, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where. On one core both are the same, and requests a second mean little."""

    gateway: int
    load: int  #: the load and the upstream

    @classmethod
    def choose(cls) -> Cores:
        """The first and the last core that we may use."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[-1])


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    name: str
    pid: int
    calls: Mapping[Kind, ChatCall]
    started_in_s: float  #: from the start of its process to the end of its first answer


def free_ports(count: int) -> list[int]:
    """Ports of the loopback on which nobody listens."""
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


@contextlib.contextmanager
def process(
    command: Sequence[str], core: int, directory: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, on this core, its output in a file; ended with all its children."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=directory,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        # Threads and children inherit it, and there are none yet.
        os.sched_setaffinity(child.pid, {core})
        yield child
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    for number, within_s in ((signal.SIGTERM, _STOP_WITHIN_S), (signal.SIGKILL, _STOP_WITHIN_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(within_s)


@contextlib.contextmanager
def upstream(core: int, directory: Path) -> Iterator[Running]:
    """The instant upstream."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    calls = {kind: chat_call(kind, port) for kind in KINDS}
    log = directory / "upstream.log"
    with process(command, core, directory, log, {"PYTHONPATH": ROOT}) as child:
        yield _await_answer("direct", child, calls, perf_counter(), log)


@contextlib.contextmanager
def server(subject: Subject, executable: Path, upstream_port: int, core: int, directory: Path) -> Iterator[Running]:
    """A subject before this upstream, in a new folder below `directory`. Raises CannotStart, BadAnswer."""
    port, admin_port = free_ports(2)
    folder = directory / f"{subject.name}-{port}"
    folder.mkdir()
    filled = values(port, admin_port, upstream_port, folder)
    for name, text in subject.files.items():
        (folder / name).write_text(fill(text, filled))
    environment = {name: fill(value, filled) for name, value in subject.environment.items()}
    command = [str(executable), *(fill(argument, filled) for argument in subject.arguments)]
    calls = {kind: subject.call(kind, filled) for kind in KINDS}
    log = folder / "output.log"
    started_at = perf_counter()
    with process(command, core, folder, log, environment) as child:
        yield _await_answer(subject.name, child, calls, started_at, log)


@contextlib.contextmanager
def gateway_with(config: str) -> Iterator[tuple[Running, Cores, Path]]:
    """Our own gateway with this config before the instant upstream, who runs where, and a folder to work in. The config
    is a template, see `Subject`. Raises CannotStart, BadAnswer.
    """
    executable = find(WAYSTATION)
    if executable is None:
        raise CannotStart("waystation is not installed beside this Python")
    cores, subject = Cores.choose(), replace(WAYSTATION, files=dict.fromkeys(WAYSTATION.files, config))
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as name:
        folder = Path(name)
        with (
            upstream(cores.load, folder) as behind,
            server(subject, executable, behind.calls["json"].port, cores.gateway, folder) as gateway,
        ):
            yield gateway, cores, folder


def ask(call: ChatCall) -> Reply:
    """One request on a connection of its own."""
    return asyncio.run(_ask(call))


async def _ask(call: ChatCall) -> Reply:
    async with connect(call.port) as connection:
        return await connection.ask(call.encode())


def _await_answer(
    name: str, child: subprocess.Popen[bytes], calls: Mapping[Kind, ChatCall], started_at: float, log: Path
) -> Running:
    try:
        reply = asyncio.run(_first_answer(child, calls["json"], started_at + START_WITHIN_S))
    except CannotStart as error:
        said = log.read_text(errors="replace")[-1000:]
        raise CannotStart(f"{name}: {error}\n{said}".rstrip()) from error
    started_in_s = perf_counter() - started_at
    check(reply, "json")
    return Running(name, child.pid, calls, started_in_s)


async def _first_answer(child: subprocess.Popen[bytes], call: ChatCall, until: float) -> Reply:
    while True:
        try:
            async with connect(call.port) as connection:
                return await connection.ask(call.encode())
        except (OSError, BadAnswer) as error:
            if child.poll() is not None:
                raise CannotStart(f"it ended with code {child.returncode}") from error
            if perf_counter() > until:
                raise CannotStart(f"no answer within {START_WITHIN_S:g} s: {error}") from error
        await asyncio.sleep(_POLL_S)
