"""Log lines: one a call, and the gateway's own events through the standard library's logging. Never a key, never a
prompt.

Lines go out on a thread of their own, in batches: a log that blocks (a full pipe, a throttled disk) must not stop the
event loop. What can't be written in time is dropped and counted, never kept without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Final, Literal

import orjson

#: How long a line may wait for others to share its write, in seconds.
_FLUSH_INTERVAL_S: Final = 0.05
#: Batches the writer thread may be behind by before lines are dropped: about ten seconds' worth.
_MAX_BATCHES: Final = 200
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}

LogFormat = Literal["json", "text"]


class LineWriter:
    """Writes lines to a file descriptor from its own thread."""

    def __init__(self, fd: int, on_drop: Callable[[int], None]) -> None:
        """`on_drop` is told how many lines were given up, on the thread of whoever wrote them."""
        self._fd = fd
        self._on_drop = on_drop
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._batches: queue.Queue[bytes | None] = queue.Queue(_MAX_BATCHES)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write_soon(self, line: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Queue a line from the event loop's thread; it is written within `_FLUSH_INTERVAL_S`. Never blocks."""
        self._lines.append(line)
        if self._timer is None:
            self._timer = loop.call_later(_FLUSH_INTERVAL_S, self._flush)

    def write(self, line: bytes) -> None:
        """Queue a line from any thread. Never blocks."""
        self._put(line, 1)

    def _flush(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._put(b"".join(lines), len(lines))

    def _put(self, batch: bytes, count: int) -> None:
        try:
            self._batches.put_nowait(batch)
        except queue.Full:
            self._on_drop(count)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            view = memoryview(batch)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                # The reader of our log is gone; there is nowhere left to say so.
                continue

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued and end the thread, waiting for a stuck reader no longer than `timeout_s`."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        try:
            self._batches.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)


class DirectWriter:
    """Writes lines on the spot, for a process that has no loop to hold up and must start no thread: the parent of
    workers. What a reader does not take at once is given up.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, line: bytes) -> None:
        """Write a line. Never blocks: a pipe that is ready takes `PIPE_BUF` bytes."""
        with contextlib.suppress(OSError, ValueError):
            for at in range(0, len(line), select.PIPE_BUF):
                if not select.select([], [self._fd], [], 0)[1]:
                    return
                os.write(self._fd, line[at : at + select.PIPE_BUF])


class CallLog:
    """One line for every call that ended, and for every request that never became one."""

    def __init__(self, writer: LineWriter, log_format: LogFormat) -> None:
        self._writer = writer
        self._encode = encode_json if log_format == "json" else encode_text
        self._clock = Timestamps()

    def write(self, event: str, fields: dict[str, object], loop: asyncio.AbstractEventLoop) -> None:
        """Log an event. `fields` are of this project's making: ids, names of the config, figures."""
        self._writer.write_soon(self._encode({"time": self._clock.now(), "event": event, **fields}), loop)


def encode_json(fields: dict[str, object]) -> bytes:
    """One JSON object and a newline. JSON escapes every control character."""
    return orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)


def encode_text(fields: dict[str, object]) -> bytes:
    """One line for a person at a terminal: the time, the event, then the fields that have a value."""
    rest = dict(fields)
    clock, event = str(rest.pop("time"))[11:19], rest.pop("event")
    pairs = " ".join(f"{name}={_display(value)}" for name, value in rest.items() if value is not None)
    return f"{clock} {event} {pairs}\n".encode("utf-8", "backslashreplace")


def _display(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).translate(_ESCAPES)
    return f'"{text}"' if " " in text else text


class Timestamps:
    """The time of day as ISO 8601 in UTC with milliseconds. Formats once a second: 0.3 µs instead of 1.2."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def now(self) -> str:
        """Such as `2026-11-21T07:00:00.123Z`."""
        now = time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._prefix}{int((now - second) * 1000):03d}Z"


class _EventHandler(logging.Handler):
    """Brings the standard library's log records into our own format and writer."""

    def __init__(self, writer: LineWriter | DirectWriter, log_format: LogFormat, worker: int | None) -> None:
        super().__init__()
        self._writer = writer
        self._worker = {} if worker is None else {"worker": worker}
        self._encode = encode_json if log_format == "json" else encode_text
        self._clock = Timestamps()

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {
            "time": self._clock.now(),
            "event": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._worker,
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = describe_exception(record.exc_info[1])
        self._writer.write(self._encode(fields))


def describe_exception(error: BaseException) -> str:
    """Where an exception was raised and of which class it is; never its text, which may hold a key or a prompt."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}:{code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__qualname__} at {' > '.join(places[-6:])}"


def configure_logging(writer: LineWriter | DirectWriter, log_format: LogFormat, worker: int | None = None) -> None:
    """Send every logger's records to `writer`, with the number of the `worker` if there are several. Libraries speak
    from WARNING up; the web server from ERROR up, because whoever can open a socket could otherwise fill the log.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_EventHandler(writer, log_format, worker))
    root.setLevel(logging.WARNING)
    logging.getLogger("proxy").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def choose_format(wanted: Literal["auto", "json", "text"]) -> LogFormat:
    """`auto` is text on a terminal, JSON elsewhere."""
    if wanted == "auto":
        return "text" if sys.stderr.isatty() else "json"
    return wanted
