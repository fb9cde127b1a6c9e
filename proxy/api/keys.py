"""`/admin/v1/keys`: whose keys there are, and blocking one at once, wherever it is kept. Never a key or its digest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import time
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from proxy.api.changes import author, identify_changer, instant, name_in, read_object, registry_of, with_registry
from proxy.api.json_response import json_response
from proxy.api.surface import Desk
from proxy.config import TeamConfig, suggest
from proxy.errors import InvalidRequest
from proxy.keyring import end_of
from proxy.state import Registry

#: `no team`: the config no longer has it.
KeyStatus = Literal["active", "expired", "revoked", "blocked", "no team"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A client key, as operators see it. Instants are Unix milliseconds."""

    team: str
    name: str
    source: Literal["yaml", "state"]
    prefix: str | None  #: of one made at run time
    created_ms: int | None
    expires_ms: int | None
    revoked_ms: int | None
    status: KeyStatus = "active"

    def described(self) -> dict[str, object]:
        """As JSON: instants are ISO, in UTC."""
        return {
            "team": self.team,
            "name": self.name,
            "source": self.source,
            "prefix": self.prefix,
            "status": self.status,
            "created": instant(self.created_ms),
            "expires": instant(self.expires_ms),
            "revoked": instant(self.revoked_ms),
        }


class KeysEndpoint:
    """What operators may know of client keys, and order."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """Every client key: the config's, then those made at run time."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        return json_response({"keys": [row.described() for row in self._rows()]})

    async def block(self, request: Request) -> Response:
        """Let a key in no longer: `{"team": NAME, "name": NAME}`. Acts on the next request."""
        surface = self._desk.surface
        admin = identify_changer(surface, request)
        registry, body = registry_of(surface), await read_object(request)
        team, name = name_in(body, "team"), name_in(body, "name")
        self._expect_key(team, name)
        await with_registry(registry.block_key, team, name, author(admin))
        _logger.warning("audit: '%s' blocked the key %s of the team %s", admin.name, name, team)
        return json_response({"team": team, "name": name, "blocked": True})

    async def unblock(self, request: Request) -> Response:
        """Let it in again: `{"team": NAME, "name": NAME}`."""
        surface = self._desk.surface
        admin = identify_changer(surface, request)
        registry, body = registry_of(surface), await read_object(request)
        team, name = name_in(body, "team"), name_in(body, "name")
        await with_registry(registry.unblock_key, team, name, author(admin))
        _logger.warning("audit: '%s' let the key %s of the team %s in again", admin.name, name, team)
        return json_response({"team": team, "name": name, "blocked": False})

    def _rows(self) -> Sequence[KeyRow]:
        surface = self._desk.surface
        surface.keyring.owners()  # sees what was changed, or raises Overloaded
        return list_keys(surface.teams, surface.registry, time())

    def _expect_key(self, team: str, name: str) -> None:
        """Raises InvalidRequest if there is no such key."""
        rows = self._rows()
        names = {row.name for row in rows if row.team == team}
        if not names:
            raise InvalidRequest(
                f"No team '{team}' has a key. {suggest(team, sorted({row.team for row in rows}))}", param="team"
            )
        if name not in names:
            raise InvalidRequest(f"The team '{team}' has no key '{name}'. {suggest(name, sorted(names))}", param="name")


def list_keys(teams: Mapping[str, TeamConfig], registry: Registry | None, now_s: float) -> Sequence[KeyRow]:
    """Every client key and how it stands: those of the config, then those of the registry as of its last refresh."""
    stored, blocked = ((), frozenset[tuple[str, str]]()) if registry is None else (registry.keys, registry.blocked)
    configured = [
        KeyRow(team, key.name, "yaml", None, None, _ms_of(end_of(key.expires)), None)
        for team, settings in teams.items()
        for key in settings.keys
    ]
    made = [
        KeyRow(key.team, key.name, "state", key.prefix, key.created_ms, key.expires_ms, key.revoked_ms)
        for key in stored
    ]
    return [replace(row, status=_status(row, teams, blocked, now_s * 1000)) for row in (*configured, *made)]


def _status(
    row: KeyRow, teams: Mapping[str, TeamConfig], blocked: frozenset[tuple[str, str]], now_ms: float
) -> KeyStatus:
    if row.revoked_ms is not None:
        return "revoked"
    if row.team not in teams:
        return "no team"
    if (row.team, row.name) in blocked:
        return "blocked"
    return "active" if row.expires_ms is None or now_ms < row.expires_ms else "expired"


def _ms_of(at_s: float | None) -> int | None:
    return None if at_s is None else round(at_s * 1000)
