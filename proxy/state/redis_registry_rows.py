"""How keys and grants lie in the hashes of Redis: one JSON array each, and what a change of them enters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

import orjson

from proxy.state.registry import Grant, StoredKey

#: So many of the latest grants are kept to be looked at, besides those in force.
_KEPT_GRANTS: Final = 1000

#: What is entered: hash, field, value; an empty value takes the field out.
Entry = tuple[str, str, bytes]


def key_entry(key: StoredKey) -> Entry:
    """A secret as it is now."""
    id, digest, *rest = astuple(key)
    return "keys", str(id), orjson.dumps([id, digest.hex(), *rest])


def key_made(found: Sequence[StoredKey], key: StoredKey) -> list[Entry]:
    """A new secret beside those of its name."""
    ids = orjson.dumps([*(one.id for one in found), key.id])
    return [key_entry(key), ("named", f"{key.team}\n{key.name}", ids), ("last", "key", b"%d" % key.id)]


def read_key(row: bytes) -> StoredKey:
    """A secret."""
    id, digest, *rest = orjson.loads(row)
    return StoredKey(id, bytes.fromhex(digest), *rest)


def grant_made(granted: Sequence[Grant], grant: Grant) -> list[Entry]:
    """A new grant. Those that are over are no longer among the granted, and the oldest of all no longer kept."""
    over = [one for one in granted if one.until_ms <= grant.created_ms]
    kept = {one.id for one in granted} - {one.id for one in over}
    row, last_kept = orjson.dumps(astuple(grant)), grant.id - _KEPT_GRANTS
    entries: list[Entry] = [("grants", str(grant.id), row), ("granted", str(grant.id), row)]
    entries += [("granted", str(one.id), b"") for one in over]
    gone = {last_kept, *(one.id for one in over if one.id < last_kept)} - kept
    entries += [("grants", str(id), b"") for id in gone if id > 0]
    return [*entries, ("last", "grant", b"%d" % grant.id)]


def grant_withdrawn(grant: Grant) -> list[Entry]:
    """A grant that is not in force any more."""
    return [("grants", str(grant.id), orjson.dumps(astuple(grant))), ("granted", str(grant.id), b"")]


def read_grants(rows: Sequence[bytes]) -> list[Grant]:
    """Grants, in the order of their making."""
    return sorted(map(read_grant, rows), key=lambda grant: grant.id)


def read_grant(row: bytes) -> Grant:
    """A grant."""
    return Grant(*orjson.loads(row))
