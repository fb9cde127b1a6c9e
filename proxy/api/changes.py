"""Changes that operators make: written on a thread, entered in the audit, and logged. `/admin/v1/audit` shows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import time
from typing import Final, TypeVar, TypeVarTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response

from proxy.api.json_response import json_response
from proxy.api.surface import Desk, Surface
from proxy.chain import instant as instant_at
from proxy.config import is_name
from proxy.errors import AdminOnly, InvalidRequest, NotFound, Overloaded
from proxy.keyring import Admin
from proxy.state import Author, ChangeRefused, Registry, StateFailed

_MAX_BODY_BYTES: Final = 64 * 1024
_ROWS: Final = 100
_MAX_ROWS: Final = 1000

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_logger = logging.getLogger(__name__)


class AuditEndpoint:
    """Who changed what."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        """The latest changes, the newest first; `?limit=N` of them, 100 if it is not said, at most 1,000."""
        surface = self._desk.surface
        surface.identify_admin(request.state.headers)
        rows = await with_registry(registry_of(surface).audit, limit_of(request))
        return json_response({"audit": [asdict(row) | {"at": instant(row.at_ms)} for row in rows]})


def identify_changer(surface: Surface, request: Request) -> Admin:
    """The operator who asks, if he may change something. Raises InvalidKey and AdminOnly."""
    admin = surface.identify_admin(request.state.headers)
    if admin.role != "admin":
        raise AdminOnly(f"The key '{admin.name}' may look but not change; use one with the role admin.")
    return admin


async def read_object(request: Request) -> dict[str, object]:
    """The body of an operator's request. Raises InvalidRequest."""
    raw = await request.body()
    try:
        body = orjson.loads(raw) if len(raw) <= _MAX_BODY_BYTES else None
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise InvalidRequest("The request body must be a small JSON object.")
    return body


def name_in(body: Mapping[str, object], param: str) -> str:
    """The name that is given there, such as a team's. Raises InvalidRequest."""
    value = body.get(param)
    if not isinstance(value, str) or not is_name(value):
        raise InvalidRequest(f"Give '{param}' as a name, as GET /admin/v1/keys shows them.", param=param)
    return value


def limit_of(request: Request) -> int:
    """How many rows are asked for. Raises InvalidRequest."""
    asked = request.query_params.get("limit", str(_ROWS))
    if not (asked.isascii() and asked.isdecimal() and 1 <= int(asked[:9]) <= _MAX_ROWS):
        raise InvalidRequest(f"Give 'limit' as a number from 1 to {_MAX_ROWS}.", param="limit")
    return int(asked)


def registry_of(surface: Surface) -> Registry:
    """Where keys, grants and the audit are kept. Raises NotFound."""
    if surface.registry is None:
        raise NotFound("This gateway keeps no keys, grants or audit: its state.url names no database.")
    return surface.registry


async def with_registry(step: Callable[[*Ts], T], *args: *Ts) -> T:
    """Do it on a thread: it waits for the disk, and perhaps for other processes. Raises InvalidRequest if it makes no
    sense, Overloaded if it failed. Whoever goes away meanwhile has changed it all the same.
    """
    try:
        return await asyncio.to_thread(step, *args)
    except ChangeRefused as error:
        raise InvalidRequest(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    except StateFailed as error:
        _logger.error("an operator's request failed: %s", error)
        raise Overloaded("The gateway's database can't be used just now. Try again; its log says why.") from error


def author(admin: Admin) -> Author:
    """The operator, as the audit names him, now."""
    return Author(f"admin:{admin.name}", round(time() * 1000))


async def record(surface: Surface, admin: Admin, action: str, subject: str, detail: str = "") -> None:
    """Enter in the audit, if there is one, what was just done. If that fails it stays done, and the log says so."""
    if surface.registry is None:
        return
    try:
        await asyncio.to_thread(surface.registry.record, author(admin), action, subject, detail)
    except StateFailed as error:
        _logger.error("audit: '%s' did %s %s, which could not be entered: %s", admin.name, action, subject, error)


def instant(at_ms: int | None) -> str | None:
    """Unix milliseconds as an ISO instant in UTC, to the second."""
    return None if at_ms is None else instant_at(at_ms / 1000)
