"""The journals of several processes in one directory: each has a numbered folder of its own, and whoever lives brings
in what the dead left. The directory's own files are those of a process that was alone here before.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final, Protocol

from proxy.accounting.journal import Journal
from proxy.accounting.segments import JournalTaken, Segments
from proxy.state import Intent, Position, StateUnusable

_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_SEGMENT: Final = ".journal"
#: How often lapsed claims are asked for, in seconds.
_LOOK_EVERY_S: Final = 10.0

#: Gives calls whose claims nobody holds any more, and is told the ids of those that it gave before and that are booked.
FindLapsed = Callable[[Collection[str]], Sequence[Intent]]

_logger = logging.getLogger(__name__)


def take_journal(root: Path, first: int = 0) -> Journal:
    """A journal in the first folder from this number on that nobody has. Raises StateUnusable."""
    for number in count(first):
        try:
            return Journal(root / str(number))
        except JournalTaken:
            continue
    raise AssertionError("numbers do not end")


class LeftJournal:
    """A journal whose owner is gone. See `Source` of the ledger."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self.earlier: Sequence[str] = tuple(segments.names())
        self.position = Position()


class Recoverer(Protocol):
    """Brings in all that a journal holds, and gives up the calls that it leaves open. Raises StateFailed, OSError."""

    def __call__(self, left: LeftJournal, /) -> None: ...


class Siblings:
    """The journals beside one's own. For one thread."""

    def __init__(self, root: Path, own: Path, recover: Recoverer) -> None:
        self._root = root
        self._own = own
        self._recover = recover
        self._unusable: set[Path] = set()  # it was said of these

    def adopt(self) -> int:
        """Bring in what lies in folders that nobody has; how many it were. Raises StateFailed, OSError."""
        adopted = 0
        for folder in self._folders():
            with self._taken(folder) as left:
                if left is not None and left.earlier:
                    _logger.warning(
                        "journal: %s was left behind; its %d segments are brought in", folder, len(left.earlier)
                    )
                    self._recover(left)
                    adopted += 1
        return adopted

    def _folders(self) -> Iterator[Path]:
        """Those with something in them, the root first."""
        for folder in (self._root, *sorted(one for one in self._root.iterdir() if _NUMBER.fullmatch(one.name))):
            if folder != self._own and folder.is_dir() and any(name.endswith(_SEGMENT) for name in os.listdir(folder)):
                yield folder

    @contextmanager
    def _taken(self, folder: Path) -> Iterator[LeftJournal | None]:
        """The folder, as long as this is entered; None if another process has it, or it can't be used."""
        try:
            segments = Segments(folder)
        except JournalTaken:
            yield None
            return
        except StateUnusable as error:
            if folder not in self._unusable:
                self._unusable.add(folder)
                _logger.error("journal: %s", error)
            yield None
            return
        try:
            yield LeftJournal(segments)
        finally:
            segments.release()


class LapsedClaims:
    """Calls whose claims nobody renews and nobody settles: their process is gone, and its disk may be too."""

    def __init__(
        self,
        lapsed: FindLapsed,
        give_up: Callable[[Sequence[Intent]], object],
        clock: Callable[[], float],
    ) -> None:
        """`lapsed` gives those of which nobody was heard for some minutes: their journal may be brought in meanwhile.
        `give_up` books them as orphans; both raise StateFailed. `clock` gives Unix seconds.
        """
        self._lapsed = lapsed
        self._give_up = give_up
        self._clock = clock
        self._looked_at = 0.0
        self._given_up: Collection[str] = ()  # the last time

    def look(self) -> None:
        """Give them up, if it is time to look for them. Raises StateFailed."""
        now = self._clock()
        if abs(now - self._looked_at) >= _LOOK_EVERY_S:
            found, self._given_up = self._lapsed(self._given_up), ()
            if found:
                self._give_up(found)
                self._given_up = {one.call_id for one in found}
            self._looked_at = now
