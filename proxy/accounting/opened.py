"""Calls that are under way, as far as the journal has been read. Pure.

Nearly every call is settled seconds after its intent, and then nothing of the intent need go into the books: it need
not even be decoded. So intents wait here first, and only the few that grow old are entered.
"""

from __future__ import annotations

from collections.abc import Sequence


class OpenCalls:
    """Intents as they were written, by their calls' keys (`peek_entry`), in two generations."""

    def __init__(self) -> None:
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def open(self, key: bytes, intent: bytes) -> None:
        """A call was let in."""
        self._young[key] = intent

    def close(self, key: bytes) -> None:
        """A call is settled. Its intent may not be here."""
        if self._young.pop(key, None) is None:
            self._old.pop(key, None)

    @property
    def old(self) -> Sequence[bytes]:
        """Intents that were here when `age` was called last."""
        return list(self._old.values())

    def age(self) -> None:
        """The old ones are taken care of: forget them, and let the young ones grow old."""
        self._young, self._old = {}, self._young
