"""Recognises a chunk that differs in its text alone from one that was examined and found to need nothing.

The chunks of a stream repeat everything but a word or two. Two comparisons and a search for a quotation mark tell that
only the text differs: 0.3 µs, where parsing the chunk takes 0.7 µs and examining it as much again.
"""

from __future__ import annotations

import re
from typing import Final

#: Where the text of a chunk begins. Whatever stands there, no decision depends on it.
_TEXT: Final = re.compile(rb'"(?:content|reasoning_content|reasoning)": ?"')
#: OpenAI pads each chunk with text of random length at its end.
_PADDING: Final = re.compile(rb'"obfuscation": ?"')
_BACKSLASH: Final = ord("\\")
#: No event begins like this.
_NEVER: Final = b"\n"


class ChunkTemplate:
    """One shape of event: head, text, middle and, if it is padded, padding and tail; and how that is to be written."""

    __slots__ = (
        "_head",
        "_head_out",
        "_head_size",
        "_is_faithful",
        "_joint",
        "_middle",
        "_middle_out",
        "_middle_size",
        "_quotes",
        "_tail",
        "_tail_out",
        "_tail_size",
    )

    def __init__(self) -> None:
        # Written out, because one is made for each stream: nothing matches until something was learned.
        self._head, self._head_size, self._head_out = _NEVER, len(_NEVER), _NEVER
        self._middle, self._middle_size, self._middle_out = b"", 0, b""
        self._tail, self._tail_size, self._tail_out = b"", 0, b""
        self._is_faithful, self._quotes, self._joint = True, 0, _NEVER

    def learn(self, event: bytes, out: bytes, without: re.Pattern[bytes]) -> None:
        """Take the shape of this event from now on.

        `out` is how the event is written: the same object, or it without what `without` matches outside its text.
        An event that has no text, or a quotation mark in it, or is written in another way, leaves all as it is.
        """
        text = _TEXT.search(event)
        if text is None:
            return
        start, end = text.end(), event.find(b'"', text.end())
        padding = _PADDING.search(event, end)
        rest = padding.end() if padding is not None else len(event)
        close = event.find(b'"', rest) if padding is not None else len(event)
        if _BACKSLASH in (event[end - 1], event[close - 1]):
            return
        shape = (event[:start], event[end:rest], event[close:])
        head, middle, tail = shape if out is event else (without.sub(b"", part) for part in shape)
        if head + event[start:end] + middle + event[rest:close] + tail == out:
            self._set(shape, (head, middle, tail))

    def match(self, event: bytes) -> bytes | None:
        """The event as it is to be written, the same object if nothing is left out; None if it has another shape."""
        if not event.startswith(self._head):
            return None
        end = event.find(b'"', self._head_size)
        while event[end - 1] == _BACKSLASH:
            if event[end - 2] == _BACKSLASH:  # which of the two is escaped is for a parser to say
                return None
            end = event.find(b'"', end + 1)
        if not event.startswith(self._middle, end):
            return None
        rest = end + self._middle_size
        close = len(event) - self._tail_size
        if self._tail:
            # A quotation mark before the tail would end another member than the padding.
            if event.find(b'"', rest) != close or not event.endswith(self._tail) or event[close - 1] == _BACKSLASH:
                return None
        elif rest != close:
            return None
        if self._is_faithful:
            return event
        return self._head_out + event[self._head_size : end] + self._middle_out + event[rest:close] + self._tail_out

    @property
    def shell_bytes(self) -> int:
        """Size of such an event without its text."""
        return self._head_size + self._middle_size + self._tail_size

    def run(self, block: bytes, start: int) -> bytes:
        """The events of the block from `start` to the last one of this shape, if all of them are; else empty. O(n).

        Middle and head hold raw quotation marks, so the two together occur only where one event of this shape follows
        another; if they do so between all events, and there are no further quotation marks, then nothing but text
        stands in each. Four scans, however many events there are.
        """
        if self._tail or not self._is_faithful or not block.startswith(self._head, start):
            return b""
        last = block.rfind(self._middle, start)
        if last < 0:
            return b""
        run = block[start : last + self._middle_size]
        events = run.count(self._joint) + 1
        return run if run.count(b"\n") == 2 * events and run.count(b'"') == events * self._quotes else b""

    def _set(self, shape: tuple[bytes, bytes, bytes], written: tuple[bytes, bytes, bytes]) -> None:
        self._head, self._middle, self._tail = shape
        self._head_out, self._middle_out, self._tail_out = written
        self._head_size, self._middle_size, self._tail_size = map(len, shape)
        self._is_faithful = shape == written
        self._quotes = self._head.count(b'"') + self._middle.count(b'"')
        self._joint = self._middle + self._head
