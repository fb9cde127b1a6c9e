"""Where a server's config comes from, and the last one that held."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from proxy.accounting import PriceTable
from proxy.config import ConfigFaults, Loaded, default_config_path, detected, environment, load, load_default


@dataclass(frozen=True, slots=True)
class Source:
    """Where the config comes from, and what to print about it."""

    path: Path
    load: Callable[[], Loaded]
    client_key: str | None  #: the key of the embedded default; None for a config of the user's own
    found: Mapping[str, str]  #: providers added from the environment, and the variable that each was found by


def source_of(path: Path | None) -> Source:
    """A file, or the embedded default."""
    table = PriceTable()
    if path is not None:
        return Source(path, lambda: load(path, environment(), has_price=_known_now(table)), None, {})
    environ = environment()
    key = environ.get("WAYSTATION_KEY") or f"sk-way-{secrets.token_urlsafe(24)}"
    found = detected(environ).found

    def load_embedded() -> Loaded:
        return load_default({**environment(), "WAYSTATION_KEY": key}, _known_now(table))

    return Source(default_config_path(), load_embedded, key, found)


class LastGood:
    """The last config that held. Workers come and go, and while the file holds a mistake each new one gets what its
    siblings go on with.
    """

    def __init__(self, source: Source) -> None:
        """Raises ConfigFaults."""
        self._source = source
        self._stamp = self._look()
        self.loaded = source.load()

    def refresh(self) -> ConfigFaults | None:
        """Read the file if it has changed since; what is wrong with it, if that was found just now."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        try:
            self.reload()
        except ConfigFaults as error:
            return error
        return None

    def reload(self) -> Loaded:
        """Read the file. Raises ConfigFaults, keeping the last one that held."""
        self._stamp = self._look()
        self.loaded = self._source.load()
        return self.loaded

    def source(self) -> Source:
        """The source, for a worker that begins now: what it loads first is the last config that held."""
        first, later = [self.loaded], self._source.load
        return Source(
            self._source.path, lambda: first.pop() if first else later(), self._source.client_key, self._source.found
        )

    def _look(self) -> tuple[int, int, int, int] | None:
        try:
            status = os.stat(self._source.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _known_now(table: PriceTable) -> Callable[[Mapping[str, object], str], bool]:
    return partial(table.knows, at=datetime.now(UTC))
