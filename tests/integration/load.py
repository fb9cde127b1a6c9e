"""Many clients at once, each on a connection of its own, one call after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.integration.gateway import KEY, chat_body
from tests.integration.raw_client import request_bytes


@dataclass
class Told:
    """What clients were told."""

    complete: list[str] = field(default_factory=list)  #: request ids of the calls whose last byte came
    refused: dict[int, int] = field(default_factory=dict)  #: status -> how many
    codes: set[str] = field(default_factory=set)  #: what refusals said of trying again: `true`, `false`


async def storm(
    address: tuple[str, int],
    *,
    clients: int,
    calls: int,
    model: str,
    body: Callable[[int], bytes] | None = None,
    key: str = KEY,
) -> Told:
    """So many clients make so many calls together, every other one as a stream. Who is refused and told to try again
    draws breath, though not for as long as it is told. Whoever loses its connection stops.
    """
    told, numbers = Told(), iter(range(calls))

    async def client() -> None:
        reader, writer = await asyncio.open_connection(*address)
        try:
            for number in numbers:
                sent = chat_body(model, stream=number % 2 == 1) if body is None else body(number)
                writer.write(request_bytes(headers={"Authorization": f"Bearer {key}"}, body=sent))
                if await _read(reader, told) == "true":
                    await asyncio.sleep(0.01)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return told


async def _read(reader: asyncio.StreamReader, told: Told) -> str:
    """Note what the answer is; gives what it says of trying again."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    status = int(head.split(" ", 2)[1])
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    else:
        while (size := int(await reader.readuntil(b"\r\n"), 16)) or not await reader.readexactly(2):
            await reader.readexactly(size + 2)
    if status == 200:
        told.complete.append(headers["x-request-id"])
    else:
        told.refused[status] = told.refused.get(status, 0) + 1
        told.codes.add(headers.get("x-should-retry", ""))
    return headers.get("x-should-retry", "")
