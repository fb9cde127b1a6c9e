"""Settings that the format has and this version does not act on. They are accepted, so that a config can be written
for the whole format, and each one draws a warning, so that nobody relies on a limit that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from proxy.config.faults import Path

#: `*` is any name or index. Values that mean "off" or what happens anyway draw no warning, nor does nothing at all.
_UNSERVED: Final[tuple[tuple[tuple[str, ...], frozenset[object]], ...]] = tuple(
    (tuple(pattern.split(".")), frozenset(harmless)) for pattern, harmless in (("server.trusted_proxies", ()),)
)
_MESSAGE: Final = "accepted, but this version does not act on it"


def unserved(root: Mapping[str, object]) -> Iterator[tuple[Path, str]]:
    """Each setting of the config that has no effect, and what to know about it."""
    for pattern, harmless in _UNSERVED:
        for path, value in _find(root, pattern, ()):
            if value if isinstance(value, dict | list) else value not in harmless:
                yield path, _MESSAGE


def _find(node: object, pattern: tuple[str, ...], path: Path) -> Iterator[tuple[Path, object]]:
    if not pattern:
        yield path, node
        return
    step, rest = pattern[0], pattern[1:]
    if isinstance(node, dict):
        for name in node if step == "*" else (step,) if step in node else ():
            yield from _find(node[name], rest, (*path, name))
    elif isinstance(node, list) and step == "*":
        for index, item in enumerate(node):
            yield from _find(item, rest, (*path, index))
