"""Where a Redis is, as a URL says it. What a config may say is checked by `proxy/config/verify_state.py`, with a path
and a hint; a test holds the two to each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, cast
from urllib.parse import parse_qsl, unquote

from proxy.state.base import StateUnusable

_URL: Final = re.compile(
    r"(?P<scheme>rediss?)(?:\+(?P<form>sentinel|cluster))?://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]+)"
    r"(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"\[(?P<six>[0-9a-fA-F:.%]+)\](?::(?P<six_port>\d+))?|(?P<name>[^:\[\]]+)(?::(?P<port>\d+))?")
#: Redis' own port, and a sentinel's.
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379

Form = Literal["single", "sentinel", "cluster"]


class Address(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """What `AUTH` is told. Shown nowhere."""

    user: str | None = field(repr=False)  #: None: the server's default user
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """How a `rediss` server proves who it is, and we do; files by their paths."""

    ca_certs: str | None = None  #: None: the authorities that the system trusts
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: Literal["none", "optional", "required"] = "required"
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """What a URL says."""

    form: Form
    addresses: tuple[Address, ...]  #: of the server, the sentinels, or some nodes of the cluster
    login: Login | None = None
    database: int = 0
    service: str = ""  #: what the sentinels call the server
    sentinel_login: Login | None = None
    tls: Tls | None = None


def read_redis_url(url: str) -> RedisPlace | None:
    """What a `state.url` or `state.cache_url` says; None if it is no URL of Redis. Raises StateUnusable if it is a
    wrong one; what it says is not repeated, as there may be a password in it.
    """
    if not url.startswith("redis"):
        return None
    found = _URL.fullmatch(url)
    if found is None:
        raise _wrong("it names no host, or has a sign in its password that must be percent-encoded")
    form = cast(Form, found["form"] or "single")
    options = dict(parse_qsl(found["query"] or ""))
    if form == "single" and "," in found["hosts"]:
        raise _wrong("it names several hosts, which is for the forms +sentinel and +cluster")
    service, database = _path(form, found["path"] or "")
    user, password = options.get("sentinel_username"), options.get("sentinel_password")
    return RedisPlace(
        form,
        tuple(_address(host, _SENTINEL_PORT if form == "sentinel" else _PORT) for host in found["hosts"].split(",")),
        _login(found["login"]),
        database,
        service,
        Login(user, password or "") if user or password else None,
        _tls(options) if found["scheme"] == "rediss" else None,
    )


def _path(form: Form, path: str) -> tuple[str, int]:
    """The sentinels' name for the server, and the database."""
    parts = [unquote(part) for part in path.split("/") if part]
    service = parts.pop(0) if form == "sentinel" and parts else ""
    if form == "sentinel" and not service:
        raise _wrong("it lacks the name that the sentinels know the server by")
    database = parts.pop(0) if parts else "0"
    if parts or not database.isascii() or not database.isdigit() or (form == "cluster" and database != "0"):
        raise _wrong("what follows the last / is no database")
    return service, int(database)


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None:
        raise _wrong("one of its hosts is none")
    port = int(found["port"] or found["six_port"] or port)
    if not 0 < port < 65_536:
        raise _wrong("one of its ports is none")
    return Address(found["name"] or found["six"], port)


def _login(text: str | None) -> Login | None:
    if not text:
        return None
    user, _, password = text.partition(":")
    return Login(unquote(user) or None, unquote(password))


def _tls(options: Mapping[str, str]) -> Tls:
    demanded = options.get("ssl_cert_reqs", "required")
    if demanded not in ("none", "optional", "required"):
        raise _wrong("ssl_cert_reqs is none of none, optional, required")
    return Tls(
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
        cast(Literal["none", "optional", "required"], demanded),
        options.get("ssl_check_hostname", "true").lower() != "false",
    )


def _wrong(what: str) -> StateUnusable:
    return StateUnusable(f"the URL of Redis can't be used: {what}; `waystation check` says what to write")
