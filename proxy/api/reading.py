"""The books, for the endpoints: a few questions at a time, on threads of their own, so that nobody who asks much keeps
the calls waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Final, TypeVar

from proxy.accounting.reports import Reporter
from proxy.config import Config
from proxy.errors import Overloaded
from proxy.state import LedgerReports, SqliteReports, StateFailed, sqlite_path

#: Questions that are answered at once, and that may be under way, most of them waiting. A thread that adds up in
#: Python takes the event loop's turn for up to 5 ms at a time, hence few.
_THREADS: Final = 2
_MAX_QUESTIONS: Final = 16

_Answer = TypeVar("_Answer")
_logger = logging.getLogger(__name__)


class ReadingRoom:
    """Where the books are read; outlives worlds. Has no thread before the first question."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="reports")
        self._places = BoundedSemaphore(_MAX_QUESTIONS)

    async def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """The answer, from a thread. Whoever is cancelled meanwhile leaves the thread to finish, and his place is taken
        until then. Raises Overloaded if there is no place, or if the books can't be read just now.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many reports are being made; ask again in a moment.")
        try:
            future = self._executor.submit(question)
        except RuntimeError as error:
            self._places.release()
            raise Overloaded("The gateway is stopping.") from error
        future.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wrap_future(future)
        except StateFailed as error:
            _logger.warning("the books could not be read: %s", error)
            raise Overloaded("The books can't be read just now; ask again in a moment.") from error

    def close(self) -> None:
        """Take no more questions, and forget those that wait."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Reports:
    """What a world's endpoints need to answer from the books."""

    reporter: Reporter
    room: ReadingRoom


def open_reports(config: Config, room: ReadingRoom, books: LedgerReports | None = None) -> Reports | None:
    """Readers of these books, or of those in the config's file, which need not be there yet."""
    path = sqlite_path(config.state.url)
    if books is None and path is not None:
        books = SqliteReports(path)
    return None if books is None else Reports(Reporter(books, config), room)
