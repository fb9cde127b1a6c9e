"""Tells when the config file has changed. It watches the directory: a mounted config map changes by swapping a link
beside the file, and editors replace the file altogether.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

from watchfiles import awatch

#: Changes that follow one another this closely are one, in milliseconds.
_DEBOUNCE_MS = 200
#: How often the file is looked at even if nobody gave notice, in milliseconds: some mounts never do.
_LOOK_MS = 5_000


async def changes(path: Path) -> AsyncIterator[None]:
    """Yield whenever the file's content is another than before; a file that has vanished is waited for.

    Raises OSError or RuntimeError if the directory can't be watched (any more).
    """
    before = _digest(path)
    async for _ in awatch(
        path.parent,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        recursive=False,
    ):
        after = _digest(path)
        if after is not None and after != before:
            before = after
            yield


def _digest(path: Path) -> bytes | None:
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        return None
