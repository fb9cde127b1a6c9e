from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest

from proxy.cli.acceptor import Acceptor


class Server:
    """A listening socket and what was accepted from it."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.open: list[asyncio.Transport] = []
        self.told: list[int] = []
        self.fewest: int | None = None
        self.acceptor = Acceptor(
            self.sock, lambda: Connection(self), lambda: self.fewest, lambda: len(self.open), self.told.append
        )

    async def connect(self) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection(*self.sock.getsockname())
        return writer

    async def accepted(self, number: int) -> bool:
        for _ in range(500):
            if len(self.open) == number:
                return True
            await asyncio.sleep(0.01)
        return False


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.server.open.append(transport)


@pytest.fixture
async def server() -> AsyncGenerator[Server, None]:
    server = Server()
    yield server
    server.acceptor.close()
    await server.acceptor.wait_closed()
    for transport in server.open:
        transport.close()
    server.sock.close()


async def test_connections_are_taken_and_told(server: Server) -> None:
    writers = [await server.connect() for _ in range(3)]
    assert await server.accepted(3)
    assert server.told == [1, 2, 3]
    for writer in writers:
        writer.close()


async def test_who_has_many_more_takes_a_connection_that_nobody_else_does(server: Server) -> None:
    """The sibling with the fewest has none, and does not come."""
    server.fewest = 0
    writers = [await server.connect() for _ in range(8)]
    assert await server.accepted(8)
    for writer in writers:
        writer.close()


async def test_who_has_many_more_leaves_connections_to_the_others(server: Server) -> None:
    """Both are readable at the same time; the one with the fewest is quicker by standing back never."""
    server.fewest = 0
    busy = [await server.connect() for _ in range(6)]
    assert await server.accepted(6)
    sibling = Server.__new__(Server)
    sibling.sock, sibling.open, sibling.told, sibling.fewest = server.sock.dup(), [], [], None
    sibling.acceptor = Acceptor(
        sibling.sock, lambda: Connection(sibling), lambda: None, lambda: len(sibling.open), sibling.told.append
    )
    busy += [await server.connect() for _ in range(3)]
    assert await sibling.accepted(3)
    assert len(server.open) == 6
    sibling.acceptor.close()
    await sibling.acceptor.wait_closed()
    for transport in sibling.open:
        transport.close()
    sibling.sock.close()
    for writer in busy:
        writer.close()


async def test_after_the_close_nobody_is_let_in(server: Server) -> None:
    server.acceptor.close()
    server.acceptor.close()
    writer = await server.connect()  # the system takes it, into a queue that somebody else may serve
    for _ in range(20):
        await asyncio.sleep(0)
    assert server.open == []
    writer.close()


async def test_running_out_of_files_is_waited_out(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    class Exhausted:
        def accept(self) -> None:
            raise OSError(24, "Too many open files")

        def fileno(self) -> int:
            return server.sock.fileno()

    server.acceptor._sock = Exhausted()  # type: ignore[assignment]  # a socket in trouble
    writer = await server.connect()
    for _ in range(200):
        if caplog.records:
            break
        await asyncio.sleep(0.01)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(caplog.records) == 1
    assert "Too many open files" in caplog.text
    server.acceptor.close()
    server.acceptor._sock = server.sock
    writer.close()
