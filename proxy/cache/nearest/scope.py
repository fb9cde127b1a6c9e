"""One scope: entries of which every one could answer, were it not for the last message. What is found in it never comes
from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.cache.nearest.base import Candidate
from proxy.cache.nearest.lexical import Lexical, terms_of
from proxy.cache.nearest.matrix import Matrix, Rows, Sketcher

#: Candidates by meaning, and as many by words. In a scope of no more than both together all are candidates, and no
#: words are kept.
_EACH: Final = 8
_ALL: Final = 2 * _EACH
#: The words of so many entries are read in 2 ms.
_SMALL: Final = 200
#: What an entry takes besides its text and its vector: itself, its id, its place in three tables. A test measures it.
_ENTRY_BYTES: Final = 512
#: What a scope takes besides its entries. The same test.
_SCOPE_BYTES: Final = 768
_UNPLACED: Final = -1


@dataclass(slots=True, eq=False)
class Entry:
    """One text that has an answer."""

    id: bytes  #: by which whoever keeps the answer knows it
    scope_key: bytes
    team: str
    text: str
    expires_at: float  #: Unix time in seconds
    slot: int = _UNPLACED  #: in its scope's matrix

    @property
    def size_bytes(self) -> int:
        """What it takes of the memory, its vector and words left out."""
        return getsizeof(self.text) + _ENTRY_BYTES


class Scope:
    """The entries of one scope. For one thread, but for `pending`."""

    __slots__ = ("_entries", "_lexical", "_matrix", "pending")

    def __init__(self, sketcher: Sketcher) -> None:
        #: Its first entry until somebody asks in this scope again: many a scope is a conversation that never comes
        #: back, and need not be embedded.
        self.pending: Entry | None = None
        self._entries: list[Entry] = []
        self._matrix = Matrix(sketcher)
        self._lexical: Lexical | None = None

    def __len__(self) -> int:
        return len(self._entries) + (self.pending is not None)

    @property
    def team(self) -> str:
        """Whose it is; it must not be empty."""
        return (self.pending or self._entries[0]).team

    @property
    def used_bytes(self) -> int:
        """What it takes of the memory, its entries' own size left out."""
        return _SCOPE_BYTES + self._matrix.used_bytes + (0 if self._lexical is None else self._lexical.used_bytes)

    def add(self, entry: Entry, vector: NDArray[np.float32]) -> None:
        """Keep it in the next slot."""
        entry.slot = len(self._entries)
        self._entries.append(entry)
        self._matrix.append(vector)
        if self._lexical is not None:
            self._lexical.append(terms_of(entry.text))
        else:
            self.prepare()

    def extend(self, entries: Sequence[Entry], rows: Rows, terms: Sequence[Sequence[int]]) -> None:
        """Keep these, with their vectors and words, in the next slots. Of a small scope no words are kept yet: perhaps
        nobody ever asks there.
        """
        before = len(self._entries)
        for slot, entry in enumerate(entries, before):
            entry.slot = slot
        self._entries += entries
        self._matrix.extend(rows)
        if self._lexical is None:
            if len(self._entries) <= _SMALL:
                return
            self._lexical = Lexical()
            for each in self._entries[:before]:
                self._lexical.append(terms_of(each.text))
        for one in terms:
            self._lexical.append(one)

    def prepare(self) -> None:
        """Before something is looked up: words are kept from now on, if there is enough to need them."""
        if self._lexical is None and len(self._entries) > _ALL:
            self._lexical = Lexical()
            for each in self._entries:
                self._lexical.append(terms_of(each.text))

    def place(self, entry: Entry, vector: NDArray[np.float32]) -> None:
        """That is the vector of the pending entry; if it is pending no more, nothing happens."""
        if self.pending is entry:
            self.pending = None
            self.add(entry, vector)

    def remove(self, entry: Entry) -> None:
        """Forget it. Another takes its slot."""
        if self.pending is entry:
            self.pending = None
            return
        last = self._entries.pop()
        if self._lexical is not None:
            self._lexical.remove(entry.slot, entry.text, last.text)
        self._matrix.remove(entry.slot)
        if last is not entry:
            last.slot = entry.slot
            self._entries[last.slot] = last
        entry.slot = _UNPLACED

    def nearest(self, text: str, vector: NDArray[np.float32]) -> list[tuple[Entry, Candidate]]:
        """Up to 16 entries, by cosine. 1.3 ms among 100,000, of which 0.25 for the words."""
        if self._lexical is None or len(self._entries) <= _ALL:
            by_meaning, by_words = self._matrix.nearest(vector, _ALL).tolist(), []
        else:
            by_meaning, by_words = self._matrix.nearest(vector, _EACH).tolist(), self._lexical.nearest(text, _EACH)
        slots: Sequence[int] = sorted({*by_meaning, *by_words})
        cosines = self._matrix.cosines(vector, np.array(slots, np.int64)).tolist()
        ranked = sorted(zip(cosines, slots, strict=True), key=lambda one: (-one[0], one[1]))
        return [
            (entry, Candidate(entry.id, entry.text, cosine, slot in by_words))
            for cosine, slot in ranked
            for entry in [self._entries[slot]]
        ]
