"""What replicas tell each other of what was purged: data as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import orjson

from proxy.state import Meant

#: So many keys are named; where there are more, everybody finds out for itself.
_MAX_KEYS: Final = 1000

Notice = tuple[Meant | None, bytes | None, Sequence[bytes] | None]


def write_notice(origin: str, meant: Meant, key: bytes | None, keys: Sequence[bytes] | None) -> bytes:
    """`origin`: who tells it. `key`: of the one answer that is meant. `keys`: all that `meant` came to."""
    named = None if keys is None or len(keys) > _MAX_KEYS else [one.hex() for one in keys]
    return orjson.dumps(
        {"origin": origin, "meant": asdict(meant), "key": None if key is None else key.hex(), "keys": named}
    )


def read_notice(data: bytes, origin: str) -> Notice | None:
    """What others said: what is meant, or one key, and all keys if they are known. None: one's own word. What can't be
    read is taken for everything: nothing that was purged is to be served.
    """
    try:
        said = orjson.loads(data)
        if said["origin"] == origin:
            return None
        key, keys = said["key"], said["keys"]
        return (
            Meant(**said["meant"]),
            None if key is None else bytes.fromhex(key),
            None if keys is None else [bytes.fromhex(one) for one in keys],
        )
    except (ValueError, TypeError, KeyError):
        return Meant(), None, None
