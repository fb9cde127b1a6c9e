"""The chunks of a streamed chat completion, brought to the shape that the official SDKs rely on.

Reads canonical events (`proxy/wire/stream.py`), keeps the account that a stream needs (usage, error, completeness)
and changes only what breaks accumulators. It never makes up a finish_reason: what a cut means is the caller's affair.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from proxy.wire.failure import ErrorBody, MalformedAnswer, find_error
from proxy.wire.template import ChunkTemplate
from proxy.wire.toolcalls import ToolCallDeltas
from proxy.wire.usage import Usage, merge_reports, read_usage

_DONE: Final = b"data: [DONE]\n\n"
#: A block begins or ends with events that must be read, or is all of one kind; a search that fails costs a copy.
_MAX_RUN_SEARCHES: Final = 3
#: A raw quotation mark is never inside a JSON string, so this only matches members.
_NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null')
#: What the final usage chunk repeats of the chunk that the usage came with.
_ENVELOPE: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


def error_event(envelope: bytes) -> bytes:
    """An error as the last event of a stream; `envelope` is one line of JSON with an `error` member."""
    return b"data: " + envelope + b"\n\n"


class ChatChunks:
    """Normalises one stream and watches it. An ordinary text chunk passes as the object it came as, in 0.3 µs."""

    __slots__ = (
        "_finished",
        "_held",
        "_include_usage",
        "_is_over",
        "_n",
        "_reported",
        "_roles",
        "_tool_calls",
        "_usage",
        "done",
        "error",
        "id",
        "service_tier",
        "started",
        "template",
    )

    def __init__(self, include_usage: bool, n: int = 1) -> None:
        """`include_usage`: the client asked for usage; `n`: the choices it asked for."""
        self.error: ErrorBody | None = None  #: ends the stream; never part of the output
        self.id: object = None  #: what the upstream calls this answer
        self.service_tier: object = None  #: what the upstream says how it was served
        self.started = False  #: a chunk with a choice was seen
        self.done = False  #: [DONE] was seen, or written by finish()
        self._include_usage = include_usage
        self._n = n
        self._is_over = False
        self._roles: set[object] = set()  # choices whose role was sent
        self._finished: set[object] = set()
        self._tool_calls: dict[object, ToolCallDeltas] = {}
        self._held = b""  # the usage chunk: it comes last, and the last one counts
        self._reported: dict[str, object] | None = None  # all `usage` objects in one
        self._usage: Usage | None = None  # what they say; some upstreams send one with each chunk, so read on demand
        self.template = ChunkTemplate()  #: of the chunks that differ in their text alone

    @property
    def usage(self) -> Usage | None:
        """What the upstream has reported so far, on whatever chunk; None while that is nothing."""
        if self._usage is None:
            self._usage = read_usage(self._reported)
        return self._usage

    @property
    def complete(self) -> bool:
        """Is nothing missing: every choice has its finish_reason, or [DONE] came after content; and no error?"""
        if self.error is not None or not self.started:
            return False
        return self.done or len(self._finished) >= self._n

    def feed(self, block: bytes) -> bytes:
        """The block as the client is to see it; empty if nothing is left of it.

        What follows [DONE] or an error is dropped.
        Raises MalformedAnswer for an event that is no chunk; what came before it in the same block is lost with it.
        """
        if self._is_over:
            return b""
        out = self.template.match(block)
        if out is not None:
            return out
        # In canonical form the first line end is the first event's.
        if block.find(b"\n") == len(block) - 2:
            return self._read(block)
        return self._read_events(block)

    def finish(self) -> bytes:
        """What the end of the stream calls for: usage and [DONE] if it is complete without them, else nothing."""
        if self._is_over or not self.complete:
            return b""
        return self._close()

    def _read_events(self, block: bytes) -> bytes:
        out: list[bytes] = []
        start, searches = 0, _MAX_RUN_SEARCHES
        while start < len(block):
            if searches:
                searches -= 1
                run = self.template.run(block, start)
                if run:
                    out.append(run)
                    start += len(run)
                    continue
            end = block.find(b"\n\n", start) + 2
            event = block[start:end]
            start = end
            seen = self.template.match(event)
            out.append(self._read(event) if seen is None else seen)
            if self.done or self.error is not None:
                break
        return b"".join(out)

    def _close(self) -> bytes:
        self.done = self._is_over = True
        return self._held + _DONE

    def _read(self, event: bytes) -> bytes:
        payload = event[6:-2]
        if payload == b"[DONE]":
            return self._read_other(payload)
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return self._read_other(payload.strip())
        if type(chunk) is not dict:
            raise MalformedAnswer("an event of the stream is no JSON object")
        self.error = find_error(chunk)
        if self.error is not None:
            self._is_over = True
            self._note_usage(chunk.get("usage"))
            return b""
        self.id = self.id or chunk.get("id")
        if "service_tier" in chunk:
            self.service_tier = chunk["service_tier"]
        if "x_groq" in chunk:  # Groq's place for usage, if it was not asked for
            about = chunk["x_groq"]
            self._hold_usage_of(chunk, about.get("usage") if type(about) is dict else None)
        choices = chunk.get("choices")
        if not choices:
            return self._read_without_choices(event, chunk)
        if type(choices) is not list:
            raise MalformedAnswer("choices is no array")
        return self._read_choices(event, chunk, choices)

    def _read_other(self, payload: bytes) -> bytes:
        if payload == b"[DONE]":
            # An end before any content is no answer: nothing is passed on, and `complete` stays false.
            self.done = self._is_over = True
            return self._close() if self.started else b""
        if payload:
            raise MalformedAnswer("an event of the stream is not JSON")
        return b""

    def _read_choices(self, event: bytes, chunk: dict[str, object], choices: list[object]) -> bytes:
        self.started = True
        is_changed, is_plain = False, True
        for position, choice in enumerate(choices):
            if type(choice) is not dict:
                raise MalformedAnswer("a choice is no object")
            delta = choice.get("delta")
            # Only a delta of text alone has the same meaning when it comes again.
            is_plain &= type(delta) is dict and not (
                "role" in delta or "tool_calls" in delta or choice.get("finish_reason")
            )
            is_changed |= self._normalise(choice, position)
            if "usage" in choice:  # Moonshot's place for it
                self._hold_usage_of(chunk, choice["usage"])
        if type(chunk.get("usage")) is dict:
            self._hold_usage_of(chunk, chunk["usage"])
            chunk["usage"] = None
            is_changed = True
        if is_changed:
            return _event(self._without_null_usage(chunk))
        out = self._strip_null_usage(event, chunk)
        if is_plain:
            self.template.learn(event, out, _NULL_USAGE)
        return out

    def _read_without_choices(self, event: bytes, chunk: dict[str, object]) -> bytes:
        usage = chunk.get("usage")
        if self._note_usage(usage):
            if self._include_usage:
                chunk_is_normal = chunk.get("choices") == []
                self._held = event if chunk_is_normal else _event(chunk | {"choices": []})
            return b""
        if "choices" not in chunk:  # a ping, or nothing that a chat client knows
            return b""
        if chunk["choices"] != []:
            return _event(self._without_null_usage(chunk | {"choices": []}))
        return self._strip_null_usage(event, chunk)

    def _normalise(self, choice: dict[str, object], position: int) -> bool:
        """Mend one choice in place. Did anything change?"""
        is_changed = False
        if type(choice.get("index")) is not int:
            choice["index"] = position
            is_changed = True
        index = choice["index"]
        delta = choice.get("delta")
        if delta is None:
            delta = choice["delta"] = {}
            is_changed = True
        if not isinstance(delta, dict):
            raise MalformedAnswer("a delta is no object")
        if "role" in delta:
            if index in self._roles or not delta["role"]:
                del delta["role"]
                is_changed = True
            else:
                self._roles.add(index)
        if "tool_calls" in delta:
            deltas = self._tool_calls.get(index)
            if deltas is None:
                deltas = self._tool_calls[index] = ToolCallDeltas()
            is_changed |= deltas.normalise(delta["tool_calls"])
        if choice.get("finish_reason"):
            self._finished.add(index)
        return is_changed

    def _note_usage(self, usage: object) -> bool:
        """Take what the upstream counted into the account. Is it a usage object at all?"""
        if type(usage) is not dict:
            return False
        self._reported = merge_reports(self._reported, usage)
        self._usage = None
        return True

    def _hold_usage_of(self, chunk: dict[str, object], usage: object) -> None:
        """Note usage that is not alone on its chunk; a client that asked finds it in one of its own at the end."""
        if self._note_usage(usage) and self._include_usage and read_usage(usage) is not None:
            envelope: dict[str, object] = {name: chunk[name] for name in _ENVELOPE if name in chunk}
            self._held = _event(envelope | {"choices": [], "usage": usage})

    def _without_null_usage(self, chunk: dict[str, object]) -> dict[str, object]:
        if not self._include_usage and chunk.get("usage") is None:
            chunk.pop("usage", None)
        return chunk

    def _strip_null_usage(self, event: bytes, chunk: dict[str, object]) -> bytes:
        """The event without `usage: null`, which only clients that asked for usage expect."""
        if self._include_usage or "usage" not in chunk:
            return event
        stripped = _NULL_USAGE.sub(b"", event)
        return stripped if stripped != event else _event(self._without_null_usage(chunk))


def _event(chunk: dict[str, object]) -> bytes:
    try:
        return b"data: " + orjson.dumps(chunk) + b"\n\n"
    except orjson.JSONEncodeError:  # orjson writes fewer levels than it reads
        raise MalformedAnswer("an event of the stream is nested too deeply") from None
