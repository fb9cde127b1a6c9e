"""The running gateway, as a process of its own: started, watched, told to stop, and killed if it does not."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

import orjson

#: Generous for a loaded machine; a start takes about one second.
START_WITHIN_S = 30.0
_READY = re.compile(r"ready at (http://\S+?)/v1")
_ADMIN = re.compile(r"(http://\S+?)/metrics")
_SAMPLE = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$")


@dataclass(frozen=True)
class Reply:
    """What a plain HTTP request was answered."""

    status: int
    headers: Mapping[str, str]  #: names in lower case
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


def ask(url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Reply:
    """One HTTP request on a connection of its own, through no proxy. Raises OSError if nobody listens."""
    address, slash, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request(method, slash + path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def wait_until(is_true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return as soon as it is true. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not become true within {within_s:g} s")
        time.sleep(0.01)


class Output:
    """What a process writes to one of its pipes, read as it comes by a thread, so that the pipe never fills."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lines: list[str] = []
        self._pipe = pipe
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for line in self._pipe:
            self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
            self._news.put(None)

    @property
    def text(self) -> str:
        """Everything so far."""
        return "\n".join(self._lines)

    def events(self) -> list[dict[str, Any]]:
        """The lines that are JSON objects."""
        return [orjson.loads(line) for line in list(self._lines) if line.startswith("{")]

    def wait_for(self, is_wanted: Callable[[dict[str, Any]], bool], within_s: float = 5.0) -> dict[str, Any]:
        """The first JSON line, of those that have come or will come, that is wanted. Raises TimeoutError."""
        deadline = time.monotonic() + within_s
        while True:
            for event in self.events():
                if is_wanted(event):
                    return event
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no such line within {within_s:g} s; the last ones: {self._lines[-5:]}")
            with contextlib.suppress(queue.Empty):
                self._news.get(timeout=min(left_s, 0.1))

    def join(self) -> None:
        """Read to the end; for a process that has ended."""
        self._thread.join(5)
        self._pipe.close()


class Server:
    """One `waystation serve` under test."""

    def __init__(
        self,
        config: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str] = ("proxy.cli", "serve", "--config"),
    ) -> None:
        """`arguments`: a module, and what stands before the config on its command line."""
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments, str(config)],
            cwd=config.parent,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout = Output(self.process.stdout)
        self.log = Output(self.process.stderr)
        self.url = ""
        self.admin_url = ""

    @property
    def base_url(self) -> str:
        """What the SDK is pointed at."""
        return f"{self.url}/v1"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the clients' listener."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def wait_until_ready(self) -> None:
        """Return once it has said that it is ready, and `/readyz` says so too. Raises AssertionError with the log if it
        ends or takes too long instead.
        """
        self.wait_until_listening()
        assert self.ready().status == 200

    def wait_until_listening(self) -> None:
        """The same, whatever `/readyz` says."""
        deadline = time.monotonic() + START_WITHIN_S
        while not (found := _READY.search(self.stdout.text)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.stdout.text}\n{self.log.text}")
            time.sleep(0.01)
        self.url = found.group(1)
        wait_until(lambda: _ADMIN.search(self.stdout.text) is not None, 2)
        admin = _ADMIN.search(self.stdout.text)
        assert admin is not None
        self.admin_url = admin.group(1)

    def ready(self) -> Reply:
        """What `/readyz` says."""
        return ask(f"{self.url}/readyz")

    def config_hash(self) -> str:
        """The hash of the config in force."""
        return str(self.ready().json()["config_hash"])

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`: name with labels -> value."""
        text = ask(f"{self.admin_url}/metrics").body.decode()
        return {found.group(1): float(found.group(2)) for line in text.splitlines() if (found := _SAMPLE.match(line))}

    def metric(self, sample: str) -> float:
        """One sample; 0 if there is none yet."""
        return self.metrics().get(sample, 0.0)

    def write_config(self, text: str) -> None:
        """Change the config file in one step, as an editor does."""
        aside = self.config.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.config)

    def reload(self, text: str) -> None:
        """Change the config file, and return once the change is in force. (The hash leaves secrets out.)"""
        taken = 'llm_config_reloads_total{result="ok"}'
        before = self.metric(taken)
        self.write_config(text)
        wait_until(lambda: self.metric(taken) > before)

    def hang_up(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """SIGTERM, without waiting for anything."""
        self.process.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C sends it."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, within_s: float = 10.0) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        code = self.process.wait(within_s)
        self.stdout.join()
        self.log.join()
        return code

    def kill(self) -> None:
        """End it, whatever it is doing. May be called when it has ended already."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


@contextlib.contextmanager
def serving(
    directory: Path,
    config: str,
    environment: Mapping[str, str] | None = None,
    *,
    name: str = "waystation.yaml",
    is_ready: bool = True,
) -> Iterator[Server]:
    """A gateway that serves this config, written to `directory/name` unless it is there already. `is_ready`: wait until
    it says so; else it only listens.
    """
    path = directory / name
    if not path.exists():
        path.write_text(config)
    server = Server(path, environment or {})
    try:
        server.wait_until_ready() if is_ready else server.wait_until_listening()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def starting(directory: Path, config: str | None) -> Iterator[Server]:
    """As `serving`, for one that is expected to fail: nobody waits for it. Without a config there is no file."""
    path = directory / "waystation.yaml"
    if config is not None:
        path.write_text(config)
    server = Server(path, {})
    try:
        yield server
    finally:
        server.kill()
