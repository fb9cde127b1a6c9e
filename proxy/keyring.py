"""Keys and whom they stand for. A key is looked up by its SHA-256 digest and kept nowhere else, so there is nothing
to compare in variable time and nothing to print by mistake.

Client keys are those of the config and those of the registry, which may change from one request to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final, Generic, Literal, TypeVar

from proxy.call import Principal
from proxy.config import AdminConfig, KeyConfig, TeamConfig
from proxy.errors import InvalidKey, Overloaded
from proxy.state import Fingerprint, Registry, StateFailed, StoredKey

#: The headers that may carry a key, in no order of preference: if several do, they must agree.
KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key")
_BEARER = b"bearer "
_NO_KEY = (
    "No API key was given. Send your key as 'Authorization: Bearer KEY' "
    "(or in an 'x-api-key' or 'api-key' header); with the OpenAI SDK, set api_key."
)
_UNKNOWN: Final = "The API key is not known here. Check it for typos, or ask whoever runs this gateway for one."
_REVOKED: Final = "The API key has been revoked. Ask whoever runs this gateway for a new one."
_BLOCKED: Final = "The API key is blocked. Ask whoever runs this gateway why."
_NO_TEAM: Final = "The API key's team is no longer served here. Ask whoever runs this gateway."

#: What the keys begin with that `new_key` makes.
_KEY_PREFIX: Final = "sk-ws-"
_KEY_BYTES: Final = 32
#: So much of a key may be shown, to recognise it by: 24 of its 256 bits.
_SHOWN_CHARS: Final = len(_KEY_PREFIX) + 4


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
        self._refused: dict[bytes, str] = {}  # what to say of keys that were good once

    def __len__(self) -> int:
        return len(self._holders)

    def owners(self) -> list[Holder]:
        """Whoever holds a key; one entry for each key."""
        return list(self._holders.values())

    def find(self, headers: Mapping[bytes, bytes], now: float) -> Holder:
        """The holder of the key that the headers carry; `now` is Unix time in seconds. O(1). Raises InvalidKey."""
        digest = sha256(read_key(headers)).digest()
        holder: Holder | None = self._holders.get(digest)
        if holder is None:
            raise InvalidKey(self._refused.get(digest, _UNKNOWN))
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


def client_keyring(teams: Mapping[str, TeamConfig], registry: Registry | None = None) -> Keyring[Principal]:
    """The client keys of every team: the config's, and the registry's if there is one."""
    configured = {
        _digest(key): _principal(team, key.name, settings, end_of(key.expires))
        for team, settings in teams.items()
        for key in settings.keys
    }
    return Keyring(configured) if registry is None else _ChangingKeyring(configured, teams, registry)


class _ChangingKeyring(Keyring[Principal]):
    """Client keys of which some are made, ended and blocked while the gateway runs. With SQLite each look sees all that
    was changed before it, on Redis all but the last moment's, or what was read last while that is away. Where a change
    is known of and can't be read, or nothing was read yet, nobody is let in: who was refused is told to try again.
    """

    def __init__(
        self, configured: Mapping[bytes, Principal], teams: Mapping[str, TeamConfig], registry: Registry
    ) -> None:
        super().__init__(configured)
        self._configured = configured
        self._teams = teams
        self._registry = registry
        self._version = -1

    def find(self, headers: Mapping[bytes, bytes], now: float) -> Principal:
        self._refresh()
        return super().find(headers, now)

    def owners(self) -> list[Principal]:
        self._refresh()
        return super().owners()

    def _refresh(self) -> None:
        try:
            version = self._registry.refresh()
        except StateFailed as error:
            raise Overloaded(
                "The gateway can't tell whose keys are good: its database can't be read just now. Try again soon."
            ) from error
        if version != self._version:
            self._read()
            self._version = version

    def _read(self) -> None:
        holders, refused, blocked = dict(self._configured), {}, self._registry.blocked
        for key in self._registry.keys:
            team = self._teams.get(key.team)
            if team is None or key.revoked_ms is not None:
                refused[key.digest] = _NO_TEAM if team is None else _REVOKED
            else:
                holders[key.digest] = _principal(key.team, key.name, team, _end_of_stored(key))
        refused |= {digest: _BLOCKED for digest, holder in holders.items() if (holder.team, holder.key_name) in blocked}
        self._refused = refused
        self._holders = {digest: holder for digest, holder in holders.items() if digest not in refused}


def admin_keyring(admin: AdminConfig) -> Keyring[Admin]:
    """The keys that open the admin endpoints."""
    return Keyring({_digest(key): Admin(key.name, key.role, end_of(key.expires)) for key in admin.keys})


def new_key() -> tuple[str, Fingerprint]:
    """A key that nobody can guess, and what is kept of it."""
    key = _KEY_PREFIX + token_urlsafe(_KEY_BYTES)
    return key, Fingerprint(sha256(key.encode()).digest(), key[:_SHOWN_CHARS])


def _principal(team: str, key_name: str, settings: TeamConfig, expires_at: float | None) -> Principal:
    models = None if settings.models is None else frozenset(settings.models)
    return Principal(team, key_name, models, expires_at, settings.priority)


def _digest(key: KeyConfig) -> bytes:
    if key.digest is not None:
        return bytes.fromhex(key.digest.removeprefix("sha256:"))
    assert key.key is not None, "the schema demands a key or a digest"
    return sha256(key.key.get_secret_value().encode()).digest()


def end_of(day: date | None) -> float | None:
    """A key is good until the day it expires begins, in UTC; as Unix seconds."""
    return None if day is None else datetime.combine(day, time(), UTC).timestamp()


def _end_of_stored(key: StoredKey) -> float | None:
    return None if key.expires_ms is None else key.expires_ms / 1000
