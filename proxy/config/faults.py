"""What is wrong with a config, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]

_MAX_KEY_CHARS = 60


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault or warning. Its text never holds a value of the file: a value may be a secret."""

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


def suggest(wrong: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or what is known if nothing is near; empty if nothing is known."""
    names = list(known)
    near = get_close_matches(wrong, names, n=1, cutoff=0.6) or get_close_matches(wrong.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names[:20])}" if names else ""
