"""What the sections `state` and `accounting` ask for that does not exist, or can't be meant. Part of `verify`, and
under the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl
from zoneinfo import available_timezones

from proxy.config.faults import Finding, Path, suggest
from proxy.config.plain import Data, as_mapping
from proxy.config.schema_server import RetainConfig
from proxy.config.schema_units import seconds_of

#: What the schema lets through.
_REDIS: Final = re.compile(r"rediss?(?:\+(?P<form>sentinel|cluster))?://\S+")
_PARTS: Final = re.compile(r"[^:]+://(?:[^/?#]*@)?(?P<hosts>[^/?#@]+)(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?")
_HOST: Final = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^:\[\]]+)(?::0*(?P<port>\d{1,5}))?")
_FORMS: Final = {
    "single": "redis://HOST:PORT/DATABASE",
    "sentinel": "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE",
    "cluster": "redis+cluster://HOST:PORT,HOST:PORT",
}
#: What may follow the question mark: option -> the values it may have, or None for any.
_TLS_OPTIONS: Final = {
    "ssl_ca_certs": None,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false"),
}
_SENTINEL_OPTIONS: Final = {"sentinel_username": None, "sentinel_password": None}
#: How long single calls may be kept in Redis without a word about its memory, in seconds.
_LONG_IN_MEMORY_S: Final = 7 * 24 * 3600


def check_accounting(root: Data) -> Iterator[Finding]:
    """A time zone that nobody knows, and a Redis that can't be found by its URL."""
    zone = as_mapping(root.get("accounting")).get("timezone")
    if isinstance(zone, str) and zone != "UTC" and zone not in available_timezones():
        yield Finding(("accounting", "timezone"), "there is no such time zone", suggest(zone, available_timezones()))
    state = as_mapping(root.get("state"))
    for name in ("url", "cache_url"):
        url = state.get(name)
        found = _REDIS.fullmatch(url) if isinstance(url, str) else None
        if found is not None:
            form = found["form"] or "single"
            for message in _faults(found.string, form):
                yield Finding(("state", name), message, f"write {_FORMS[form]}")


def check_workers(root: Data) -> Iterator[Finding]:
    """Workers that could not share the state."""
    workers = as_mapping(root.get("server")).get("workers")
    if type(workers) in (int, str) and str(workers).isdecimal():
        url = as_mapping(root.get("state")).get("url", "sqlite")
        finding = shared_by(int(str(workers)), url)
        if finding is not None:
            yield finding


def check_retention(root: Data) -> Iterator[Finding]:
    """Single calls that are kept for long in a Redis, whose memory they take."""
    state = as_mapping(root.get("state"))
    url, retain = state.get("url"), as_mapping(state.get("retain"))
    kept_s = seconds_of(retain["requests"]) if "requests" in retain else RetainConfig().requests_s
    if isinstance(url, str) and _REDIS.fullmatch(url) and kept_s is not None and kept_s > _LONG_IN_MEMORY_S:
        span = "for so long" if "requests" in retain else "for 90 days, the default"
        message = f"single calls stay in Redis' memory {span}: 19 MB a day for each call a second"
        hint = "set state.retain.requests to 7d or less; sums, and so reports, stay for state.retain.rollups"
        path: Path = ("state", "retain", "requests") if "requests" in retain else ("state", "url")
        yield Finding(path, message, hint, is_warning=True, at_key=True)


def shared_by(workers: int, url: object) -> Finding | None:
    """What is wrong with so many workers over the state at `url`; None if they can share it."""
    if workers <= 1 or not isinstance(url, str) or not url.startswith("sqlite"):
        return None
    hint = 'set state.url to a Redis, such as "redis://127.0.0.1:6379/0", or workers: 1'
    return Finding(("server", "workers"), "a SQLite file has one process: more need a state that they can share", hint)


def _faults(url: str, form: str) -> Iterator[str]:
    """What is wrong with a URL. Its values are not repeated: one of them may be a password."""
    parts = _PARTS.fullmatch(url)
    if parts is None:
        yield "it names no host, or its password has one of / ? # @ % without being percent-encoded"
        return
    hosts = parts["hosts"].split(",")
    if form == "single" and len(hosts) > 1:
        yield "several hosts are for the forms +sentinel and +cluster"
    for number, host in enumerate(hosts, 1):
        address = _HOST.fullmatch(host)
        if address is None or not 0 < int(address["port"] or 1) < 65_536:
            yield f"host {number} is not HOST or HOST:PORT"
    path = [part for part in (parts["path"] or "").split("/") if part]
    if form == "sentinel" and not path:
        yield "it lacks the name that the sentinels know the server by"
    database = path[1:] if form == "sentinel" else path
    if form == "cluster" and database not in ([], ["0"]):
        yield "a cluster has no databases"
    elif len(database) > 1 or not all(re.fullmatch(r"[0-9]{1,9}", number) for number in database):
        yield "the database is not a number"
    yield from _option_faults(url, form, parts["query"] or "")


def _option_faults(url: str, form: str, query: str) -> Iterator[str]:
    known = {**(_TLS_OPTIONS if url.startswith("rediss") else {}), **(_SENTINEL_OPTIONS if form == "sentinel" else {})}
    for number, (option, value) in enumerate(parse_qsl(query, keep_blank_values=True), 1):
        if option in known:
            allowed = known[option]
            if allowed is not None and value not in allowed:
                yield f"{option} is none of {', '.join(allowed)}"
        elif option in _TLS_OPTIONS:
            yield f"{option} is for the forms with TLS, rediss://"
        elif option in _SENTINEL_OPTIONS:
            yield f"{option} is for the form +sentinel"
        else:
            listed = ", ".join(known) or "none in this form"
            yield f"option {number} is not known (known: {listed})"
