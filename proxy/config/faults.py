"""What is wrong with a config, where, and what to do about it. No text here ever holds a value of the file: a value may
be a secret, in whatever setting it was put by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

Path = tuple[str | int, ...]

_MAX_KEY_CHARS: Final = 60
#: Of an unknown key, what looks like the name of a setting: `{api_key:sk-1}` is one key to YAML, for want of a space.
_SETTING: Final = re.compile(r"[A-Za-z0-9_. -]{1,40}")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault or warning."""

    file: str
    line: int  #: from 1
    column: int  #: from 1
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what} ({self.hint})" if self.hint else f"{where}: {what}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, or one warning, at a path of the config; its place in the file is not known yet."""

    path: Path
    message: str
    hint: str = ""
    is_warning: bool = False
    at_key: bool = False  #: stands at the key rather than at its value
    named: Path | None = None  #: the path to name, if it is not where the fault stands


class ConfigFaults(Exception):
    """The config does not hold. All that is wrong with it, in the order of the file."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))


def display_path(path: Path) -> str:
    """`models.chat.targets[0].provider`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{display_key(step)}" if text else display_key(step)
    return text


def display_key(key: str) -> str:
    """A key as it may be shown: printable, and not at any length."""
    shown = "".join(char if char.isprintable() else "?" for char in key[:_MAX_KEY_CHARS])
    return shown + "…" if len(key) > _MAX_KEY_CHARS else shown


def display_unknown_key(key: str) -> str:
    """As much of an unknown key as looks like the name of a setting."""
    found = _SETTING.match(key)
    shown = found.group() if found else ""
    return shown if shown == key else f"{shown}…"


def nearest(wrong: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`; empty if nothing is near."""
    names, wrong = list(known), wrong[:_MAX_KEY_CHARS]
    near = get_close_matches(wrong, names, n=1, cutoff=0.6) or get_close_matches(wrong.lower(), names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or what is known if nothing is near; empty if nothing is known."""
    names = list(known)
    return nearest(wrong, names) or (f"known: {', '.join(map(display_key, names[:20]))}" if names else "")
