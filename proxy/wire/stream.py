"""Server-sent events from upstreams, cut into whole events of one canonical form: `data: <one line>\\n\\n`.

The official SDKs stumble over what the specification allows: `id:` lines, named events without data, empty data. So
nothing but data goes through. What the data means is for `proxy/wire/chunks.py`. Format: WHATWG HTML, section 9.2.6.
"""

from __future__ import annotations

from typing import Final

import orjson

from proxy.wire.failure import NO_MESSAGE, MalformedAnswer

_BOM: Final = b"\xef\xbb\xbf"
_DONE_LAST: Final = b"\n\ndata: [DONE]\n\n"
_EMPTY_EVENT_BYTES: Final = len(b"data: \n\n")


class EventTooLarge(MalformedAnswer):
    """One event, or one line, exceeds the cap."""


class SSESplitter:
    """Turns pieces of one stream, cut anywhere, into blocks of whole events. Linear in the bytes, however cut."""

    __slots__ = (
        "_data",
        "_is_error",
        "_is_start",
        "_line",
        "_max_event_bytes",
        "_size",
        "_skip_lf",
        "is_idle",
        "is_truncated",
    )

    def __init__(self, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self.is_truncated = False  #: after finish(): the stream ended inside an event
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()  # a line that has not ended yet
        self._data: list[bytes] = []  # data lines of an event that has not ended yet
        self._size = 0  # their bytes
        self._is_error = False  # that event is named `error`
        self._skip_lf = False  # the last byte was a CR: a LF next to it belongs to the same line end
        self._is_start = True  # nothing came yet, so a byte order mark may
        self.is_idle = True  #: nothing is pending at all

    def feed(self, data: bytes) -> bytes:
        """The events that `data` completes, as one block; empty if it completes none (comments alone never do).

        Raises EventTooLarge; the stream can't be read on then.
        """
        if self.is_idle and _is_canonical(data) and len(data) <= self._max_event_bytes:
            self._is_start = False
            return data
        return self._feed_pending(data) if data else b""

    def finish(self) -> bytes:
        """What the end of the stream completes: a last event that lacks only its blank line, or its line end."""
        line = bytes(self._line)
        self._line.clear()
        if line.startswith(b"data:"):
            self._read_line(line)
        elif line and not line.startswith(b":"):
            self.is_truncated = True
        is_error = self._is_error
        event = self._take_event()
        if event and not is_error and not _is_whole(event):
            self.is_truncated = True
            return b""
        return event

    def _feed_pending(self, data: bytes) -> bytes:
        if self._is_start:
            data = bytes(self._line) + data
            self._line.clear()
            if len(data) < len(_BOM) and _BOM.startswith(data):
                return self._wait_for_more(data)
            self._is_start = False
            data = data.removeprefix(_BOM)
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = data.rfind(b"\n") + 1
        if cut == 0:
            return self._wait_for_more(data)
        lines = bytes(self._line) + data[:cut]
        self._line.clear()
        block = self._read_lines(lines)
        return block + self._wait_for_more(data[cut:])

    def _wait_for_more(self, rest: bytes) -> bytes:
        self._line += rest
        if self._size + len(self._line) > self._max_event_bytes:
            raise self._too_large()
        self.is_idle = not (self._line or self._data or self._is_error or self._skip_lf)
        return b""

    def _read_lines(self, lines: bytes) -> bytes:
        out: list[bytes] = []
        if not self._data and not self._is_error:
            # Usually a network read holds whole events and the start of the next one.
            end = lines.rfind(b"\n\n") + 2
            if 2 < end <= self._max_event_bytes and _is_canonical(lines[:end]):
                out.append(lines[:end])
                lines = lines[end:]
        for line in lines.split(b"\n")[:-1]:
            if line:
                self._read_line(line)
            else:
                out.append(self._take_event())
        return b"".join(out)

    def _read_line(self, line: bytes) -> None:
        if self._size + len(line) > self._max_event_bytes:
            raise self._too_large()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(line)
        elif name == b"event":
            self._is_error = value == b"error"

    def _take_event(self) -> bytes:
        lines, is_error = self._data, self._is_error
        if not lines and not is_error:
            return b""
        self._data, self._size, self._is_error = [], 0, False
        # No JSON string holds a raw line end, so a space in its place changes nothing.
        payload = b" ".join(lines)
        if is_error and lines:
            payload = _as_error(payload)
        elif not any(lines):
            return b""
        return b"data: " + payload + b"\n\n"

    def _too_large(self) -> EventTooLarge:
        return EventTooLarge(f"one event of the stream exceeds {self._max_event_bytes} bytes")


def _is_canonical(data: bytes) -> bool:
    """Is this nothing but whole events in canonical form? A few scans and no loop: most network reads end here."""
    if not data.startswith(b"data: ") or not data.endswith(b"\n\n") or b"\r" in data:
        return False
    if data.find(b"\n") == len(data) - 2:
        return len(data) > _EMPTY_EVENT_BYTES
    # Each event accounts for two line ends, and there are no others; one that begins with a brace is not empty.
    events = data.count(b"\n\ndata: {") + 1 + data.endswith(_DONE_LAST)
    return data.startswith(b"data: {") and data.count(b"\n") == 2 * events


def _is_whole(event: bytes) -> bool:
    payload = event[len(b"data: ") : -2]
    if payload.strip() == b"[DONE]":
        return True
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


def _as_error(payload: bytes) -> bytes:
    """The data of an `event: error` with an `error` member, by which it is known once its name is gone."""
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError:
        said = payload.decode(errors="replace").strip()
    if isinstance(said, dict) and said.get("error"):
        return payload
    try:
        return orjson.dumps({"error": said or NO_MESSAGE})
    except orjson.JSONEncodeError:  # orjson writes fewer levels than it reads
        return orjson.dumps({"error": NO_MESSAGE})
