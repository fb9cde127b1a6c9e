"""Keys and whom they stand for. A key is looked up by its SHA-256 digest and kept nowhere else, so there is nothing
to compare in variable time and nothing to print by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from hashlib import sha256
from typing import Generic, Literal, TypeVar

from proxy.call import Principal
from proxy.config import AdminConfig, KeyConfig, TeamConfig
from proxy.errors import InvalidKey

#: The headers that may carry a key, in no order of preference: if several do, they must agree.
KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key")
_BEARER = b"bearer "
_NO_KEY = (
    "No API key was given. Send your key as 'Authorization: Bearer KEY' "
    "(or in an 'x-api-key' or 'api-key' header); with the OpenAI SDK, set api_key."
)


@dataclass(frozen=True, slots=True)
class Admin:
    """Who may look at (viewer) or change (admin) the gateway."""

    name: str
    role: Literal["admin", "viewer"]
    expires_at: float | None = None


Holder = TypeVar("Holder", Principal, Admin)


class Keyring(Generic[Holder]):
    """Digests of keys, and their holders."""

    def __init__(self, holders: Mapping[bytes, Holder]) -> None:
        """`holders`: SHA-256 digest (32 bytes) -> holder."""
        self._holders: dict[bytes, Holder] = dict(holders)

    def __len__(self) -> int:
        return len(self._holders)

    def owners(self) -> list[Holder]:
        """Whoever holds a key; one entry for each key."""
        return list(self._holders.values())

    def find(self, headers: Mapping[bytes, bytes], now: float) -> Holder:
        """The holder of the key that the headers carry; `now` is Unix time in seconds. O(1). Raises InvalidKey."""
        holder: Holder | None = self._holders.get(sha256(read_key(headers)).digest())
        if holder is None:
            raise InvalidKey(
                "The API key is not known here. Check it for typos, or ask whoever runs this gateway for one."
            )
        if holder.expires_at is not None and now >= holder.expires_at:
            raise InvalidKey("The API key has expired. Ask whoever runs this gateway for a new one.")
        return holder


def read_key(headers: Mapping[bytes, bytes]) -> bytes:
    """The one key that the headers carry. Raises InvalidKey if there is none, or two that differ."""
    found: bytes | None = None
    for name in KEY_HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        if name == b"authorization":
            if value[:7].lower() != _BEARER:
                raise InvalidKey("The Authorization header must read 'Bearer KEY'.")
            value = value[7:]
        value = value.strip()
        if not value:
            continue
        if found is not None and found != value:
            raise InvalidKey("Two different API keys were sent, in two headers. Send one.")
        found = value
    if found is None:
        raise InvalidKey(_NO_KEY)
    return found


def client_keyring(teams: Mapping[str, TeamConfig]) -> Keyring[Principal]:
    """The client keys of every team."""
    holders = {}
    for team, settings in teams.items():
        models = None if settings.models is None else frozenset(settings.models)
        for key in settings.keys:
            holders[_digest(key)] = Principal(team, key.name, models, _end_of(key.expires), settings.priority)
    return Keyring(holders)


def admin_keyring(admin: AdminConfig) -> Keyring[Admin]:
    """The keys that open the admin endpoints."""
    return Keyring({_digest(key): Admin(key.name, key.role, _end_of(key.expires)) for key in admin.keys})


def _digest(key: KeyConfig) -> bytes:
    if key.digest is not None:
        return bytes.fromhex(key.digest.removeprefix("sha256:"))
    assert key.key is not None, "the schema demands a key or a digest"
    return sha256(key.key.get_secret_value().encode()).digest()


def _end_of(day: date | None) -> float | None:
    """A key is good until the day it expires begins, in UTC."""
    return None if day is None else datetime.combine(day, time(), UTC).timestamp()
