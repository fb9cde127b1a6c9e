"""A server that speaks Redis' protocol and answers each command as a test has it: for what a real one seldom does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import hiredis

OK = b"+OK\r\n"
#: Never an answer.
SILENCE = b""


def hello(version: str = "7.2.0", role: str = "master") -> bytes:
    """What HELLO answers."""
    words = ["server", "redis", "version", version, "role", role]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


class FakeRedis:
    """While it runs, `answers` may be changed; `asked` has every command that came."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        usual = {"AUTH": OK, "SELECT": OK, "CLIENT": OK, "HELLO": hello(), "PING": b"+PONG\r\n"}
        self.answers = {**usual, **answers}
        self.asked: list[list[bytes]] = []
        self.port = 0
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._open[asyncio.current_task()] = writer
        parser = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    self.asked.append(command)
                    writer.write(self._answer(command[0].decode()))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, name: str) -> bytes:
        """`EVAL`: unless a test says otherwise, what a script gives however it is sent."""
        if name == "EVAL" and name not in self.answers:
            name = "EVALSHA"
        return self.answers.get(name, b"-ERR unknown command\r\n")

    async def aclose(self) -> None:
        """End its connections."""
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in self._open if task is not None))


@asynccontextmanager
async def fake_redis(**answers: bytes) -> AsyncIterator[FakeRedis]:
    """A server that runs for as long as this."""
    fake = FakeRedis(answers)
    server = await asyncio.start_server(fake.meet, "127.0.0.1", 0)
    fake.port = int(server.sockets[0].getsockname()[1])
    async with server:
        try:
            yield fake
        finally:
            await fake.aclose()
