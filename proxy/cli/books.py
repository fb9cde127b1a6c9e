"""How a command finds the books of a config, and what it says if there are none. It only reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.config import Config, environment, load, load_default
from proxy.state import LedgerReports, SqliteReports, granted_of, open_redis_registry, open_redis_reports, sqlite_path

#: A reference to a variable that has no default.
_REFERENCE: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class NoBooks(Exception):
    """There is nothing to read: why, and what to do."""


class NoFile(NoBooks):
    """The books are not in a file."""


def read_config(path: Path | None) -> Config:
    """The config in a file, or the embedded one, for looking at the books: whoever may do that need not have the keys
    that are in the environment of the server. Raises ConfigFaults.
    """
    environ = environment()
    if path is None:
        return load_default({"WAYSTATION_KEY": _stand_in("WAYSTATION_KEY"), **environ}).config
    return load(path, {**_stand_ins(path), **{name: value for name, value in environ.items() if value}}).config


def open_books(config: Config) -> LedgerReports:
    """The books of this config. Raises NoBooks."""
    state = config.state
    if sqlite_path(state.url) is None:
        registry = open_redis_registry(state.url, state.namespace)
        return open_redis_reports(state.url, state.namespace, granted_of(registry))
    return SqliteReports(books_file(config))


def books_file(config: Config) -> Path:
    """The file of them. Raises NoBooks."""
    path = sqlite_path(config.state.url)
    if path is None:
        raise NoFile("the books are in Redis, not in a file")
    if not path.exists():
        raise NoBooks(
            f"no call has been booked yet: {path} is not there. It is looked for from where the command is run, as "
            "from where the server was started."
        )
    return path


def _stand_ins(path: Path) -> Mapping[str, str]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}  # `load` says what is wrong
    return {name: _stand_in(name) for name in _REFERENCE.findall(text)}


def _stand_in(name: str) -> str:
    """As long as a key must be, and another for each variable: two keys may not be the same."""
    return f"not-set-{name}-not-set"
