"""How a stored answer is given as a stream: at once, or about as fast as it came when somebody paid for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Literal

from proxy.cache.store import Stored
from proxy.wire.replay import events_from, stream_from

Pace = Literal["instant", "natural"]

#: Characters of text in one event at a natural pace: about what three tokens have.
_PIECE_CHARS: Final = 12
#: A long answer has longer events instead of more of them: each takes 20 µs to send and 300 bytes to keep.
_MAX_EVENTS: Final = 1000
#: An answer that came as JSON is streamed this fast, in characters a second: 60 tokens or so.
_CHARS_PER_S: Final = 240.0
#: Nobody waits longer for the whole of it, in seconds, however slow it was.
_LONGEST_S: Final = 10.0


async def replayed(stored: Stored, *, include_usage: bool, pace: Pace = "instant") -> AsyncIterator[bytes]:
    """The blocks of its stream."""
    if pace == "instant":
        yield stream_from(stored.body, include_usage=include_usage)
        return
    piece_chars = max(_PIECE_CHARS, len(stored.body) // _MAX_EVENTS)
    events = events_from(stored.body, include_usage=include_usage, piece_chars=piece_chars)
    took_s = stored.streamed_s or len(stored.body) / _CHARS_PER_S
    wait_s = min(took_s, _LONGEST_S) / (len(events) - 1)  # from the first to the last, of which there are two at least
    loop = asyncio.get_running_loop()
    due_at = loop.time()
    yield events[0]
    for event in events[1:]:
        due_at += wait_s
        await asyncio.sleep(max(0.0, due_at - loop.time()))  # late timers don't add up
        yield event
