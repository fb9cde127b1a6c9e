"""The Lua that runs inside Redis: one file a script under `lua/`, read once, at start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Final

#: A line `--#include NAME` stands for `lua/NAME.lua`, once a script.
_INCLUDE: Final = re.compile(r"^--#include (\w+)\n", re.MULTILINE)
#: Redis 7 and later read flags there; to those before it is a fault.
_FLAGS: Final = re.compile(rb"\A#!lua[^\n]*\n")


@dataclass(frozen=True, slots=True)
class Script:
    """One script, as it is sent."""

    name: str
    source: bytes
    digest: bytes  #: SHA-1 in hex: what Redis knows it by once it is loaded
    flagless: Script | None = None  #: None: it has no line of flags

    @property
    def without_flags(self) -> Script:
        """The same for a Redis before version 7."""
        return self.flagless or self


def load_script(name: str) -> Script:
    """The script of this name, with what it includes. A first line `#!lua flags=…` stays the first."""
    included: set[str] = set()

    def include(match: re.Match[str]) -> str:
        part = match.group(1)
        if part in included:
            return ""
        included.add(part)
        return _INCLUDE.sub(include, _read(part))

    return _script(name, _INCLUDE.sub(include, _read(name)).encode())


def _script(name: str, source: bytes) -> Script:
    bare = _FLAGS.sub(b"", source)
    flagless = None if bare == source else Script(name, bare, _digest(bare))
    return Script(name, source, _digest(source), flagless)


def _digest(source: bytes) -> bytes:
    return sha1(source, usedforsecurity=False).hexdigest().encode()


def _read(name: str) -> str:
    return files("proxy.state").joinpath("lua", f"{name}.lua").read_text("utf-8")
