"""Tells a web address what an operator should know: one POST of JSON for each event, in their order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import orjson

from proxy.providers.transport import (
    URL,
    Content,
    Headers,
    Request,
    Transport,
    TransportError,
    let_go,
    make_transport,
)

#: Seconds for one try, and between tries.
_TIMEOUTS: Final = {"connect": 5.0, "first_byte": 10.0, "idle": 5.0, "total": 15.0}
_WAITS_S: Final = (1.0, 10.0, 60.0)
#: Events that wait at most; the oldest give way.
_MAX_WAITING: Final = 200

_logger = logging.getLogger(__name__)


class Webhook:
    """Sends events in the background, and never holds anybody up. One that cannot be told is logged, and given up."""

    def __init__(
        self, transport: Transport | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Tells nobody until `aim` has named an address."""
        self._transport = transport
        self._sleep = sleep
        self._url: URL | None = None
        self._waiting: deque[Mapping[str, object]] = deque(maxlen=_MAX_WAITING)
        self._task: asyncio.Task[None] | None = None

    def aim(self, url: str | None) -> None:
        """From now on tell this address; None: nobody."""
        self._url = None if url is None else URL(url)

    def tell(self, event: Mapping[str, object]) -> None:
        """Send it soon. Needs a running event loop."""
        if self._url is None:
            return
        self._waiting.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send_all())

    async def aclose(self) -> None:
        """Give up what was not sent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._transport is not None:
            await self._transport.aclose()

    async def _send_all(self) -> None:
        while self._waiting and self._url is not None:
            event, url = self._waiting.popleft(), self._url
            body = orjson.dumps(event)
            for wait_s in (*_WAITS_S, None):
                reason = await self._send(url, body)
                if reason is None:
                    break
                if wait_s is None:
                    _logger.error(
                        "notify.webhook: an event of type %s could not be told: %s", event.get("type"), reason
                    )
                    break
                await self._sleep(wait_s)

    async def _send(self, url: URL, body: bytes) -> str | None:
        """Why it was not taken; None if it was."""
        if self._transport is None:
            self._transport = make_transport("aiohttp", reuse=False, proxy=None)
        headers = Headers([(b"content-type", b"application/json"), (b"user-agent", b"waystation")])
        request = Request("POST", url, headers=headers, stream=Content(body), extensions={"timeout": _TIMEOUTS})
        try:
            response = await self._transport.handle_async_request(request)
        except TransportError as error:
            return str(error)
        await let_go(response)
        return None if response.status_code < 300 else f"it answered {response.status_code}"
