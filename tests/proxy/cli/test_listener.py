from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any

import pytest

from proxy.cli.listener import Listener, max_connections
from proxy.cli.protocol import Limits
from proxy.observe import Board, Crew

LIMITS = Limits(header_timeout_s=10, body_timeout_s=30, write_timeout_s=60, max_connections=9)
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """An application that says yes to everything."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def listener(crew: Crew | None) -> tuple[Listener, tuple[str, int]]:
    sock = socket.create_server(("127.0.0.1", 0))
    return Listener(answer, sock, LIMITS, crew), sock.getsockname()  # type: ignore[arg-type]  # a face as simple as can be


@pytest.mark.parametrize("shares", [False, True])
async def test_it_serves_says_goodbye_and_ends(*, shares: bool) -> None:
    board = Board(1)
    made, address = listener(Crew(board, 0, -1) if shares else None)
    running = asyncio.create_task(made.run_until_stopped())
    while not made.started:
        await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
    assert made.connections == 1
    assert board.standing(0).connections == int(shares)
    made.say_goodbye()
    made.say_goodbye()
    writer.write(REQUEST)
    rest = await reader.read()  # to the end: the connection is closed after it
    assert rest.count(b"connection: close") == 1
    made.stop_accepting()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    made.stop_accepting()  # a second time has no effect
    made.should_exit = made.force_exit = True
    await running
    writer.close()


@pytest.mark.parametrize("shares", [False, True])
async def test_whoever_has_connected_when_it_stops_is_answered(*, shares: bool) -> None:
    made, address = listener(Crew(Board(1), 0, -1) if shares else None)
    running = asyncio.create_task(made.run_until_stopped())
    while not made.started:
        await asyncio.sleep(0.005)
    clients = [socket.create_connection(address) for _ in range(8)]  # the loop does not turn meanwhile
    made.stop_accepting()
    for client in clients:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, REQUEST)
        assert await asyncio.get_running_loop().sock_recv(client, 12) == b"HTTP/1.1 200"
        client.close()
    made.should_exit = made.force_exit = True
    await running


def test_connections_leave_files_for_upstreams() -> None:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert max_connections(1) == 1
    if allowed != resource.RLIM_INFINITY:
        assert max_connections(allowed * 2) < allowed / 2
