"""A client of Redis for threads and commands: everything that no call waits for. It imports redis-py, which takes 60 to
80 ms; the loop's link does without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import NoScriptError, RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from proxy.state.base import StateAway, StateFailed, StateUnusable
from proxy.state.redis_faults import LOSING, fault_of, kind_of
from proxy.state.redis_link import Word
from proxy.state.redis_place import Login, RedisPlace, read_redis_url
from proxy.state.scripts import Script

#: How long to wait for an answer, in seconds: threads may wait, but not for ever.
PATIENCE_S: Final = 5.0
#: The same for a sentinel: one of them is frozen when the others answer.
_SENTINEL_PATIENCE_S: Final = 1.0

T = TypeVar("T")


def open_client(url: str, patience_s: float = PATIENCE_S) -> redis.Redis:
    """A client of bytes, for any form of URL; it connects when it is first asked, and anew when it must. Nothing is
    tried twice. On a cluster the keys of a command, and of a pipeline's transaction, must share one hash tag.

    Raises StateUnusable if it is no URL of Redis.
    """
    place = read_redis_url(url)
    if place is None:
        raise StateUnusable("state.url is no URL of Redis")
    patient = {"socket_timeout": patience_s, "socket_connect_timeout": patience_s}
    options: dict[str, Any] = {**patient, **_secrecy(place), **_login(place.login), "client_name": "waystation"}
    if place.form == "cluster":
        return cast(redis.Redis, _Cluster(place, options))
    options |= {"db": place.database, "retry": _once()}
    if place.form == "single":
        (host, port), kind = place.addresses[0], _Primary if place.tls is None else _PrimaryOverTls
        del options["ssl"]
        return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, host=host, port=port, **options))
    brief = min(patience_s, _SENTINEL_PATIENCE_S)
    own: dict[str, Any] = {"socket_timeout": brief, "socket_connect_timeout": brief, "retry": _once()}
    own |= {**_secrecy(place), **_login(place.sentinel_login)}
    sentinels: Any = Sentinel(list(place.addresses), sentinel_kwargs=own)  # type: ignore[no-untyped-call]  # redis-py's
    return cast(redis.Redis, sentinels.master_for(place.service, **options))


def asked(do: Callable[[], T]) -> T:
    """What `do` gives. Raises StateAway in place of what redis-py raises for a server that can't be asked just now, and
    StateFailed for whatever it refuses. What a server says is not repeated: it may hold what was sent.
    """
    try:
        return do()
    except (redis.ConnectionError, redis.TimeoutError, RedisClusterException, OSError) as error:
        raise StateAway(f"Redis can't be asked: {_plight(error)}") from error
    except redis.ResponseError as error:
        text = _text(error)
        raise fault_of(kind_of(text), text, "a command") from error
    except redis.RedisError as error:
        raise StateFailed(f"Redis refused a command: {type(error).__name__}") from error


def run_script(client: redis.Redis, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> Any:
    """What a script gives, on keys of one hash tag; a script that Redis has forgotten is sent again.

    Raises StateAway, StateFailed.
    """
    return asked(lambda: _run(client, script, [*keys, *args], len(keys)))


def _run(client: redis.Redis, script: Script, words: Sequence[Word], keys: int) -> Any:
    old = script.without_flags
    for known in dict.fromkeys((script, old)):
        with suppress(NoScriptError):
            return client.evalsha(known.digest.decode(), keys, *words)
    try:
        return client.eval(script.source.decode(), keys, *words)
    except redis.ResponseError as error:
        # Before version 7 a line of flags is a fault of syntax.
        if old is script or "compiling script" not in str(error):
            raise
        return client.eval(old.source.decode(), keys, *words)


class _Primary(redis.Connection):
    """A connection that is given up when its server was demoted: the host's name may lead to another by now."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except redis.ResponseError as error:
            if kind_of(_text(error)) in LOSING:
                self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise


class _PrimaryOverTls(_Primary, redis.SSLConnection):
    """The same over TLS."""


class _Cluster:
    """redis-py's client of a cluster asks for the map when it is made; this one when it is first used."""

    def __init__(self, place: RedisPlace, options: dict[str, Any]) -> None:
        node: Any = ClusterNode
        self._nodes = [node(*address) for address in place.addresses]
        self._options = options
        self._lock = threading.Lock()
        self._client: redis.RedisCluster | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._client is None:
                self._client = redis.RedisCluster(startup_nodes=self._nodes, retry=_once(), **self._options)
        return getattr(self._client, name)

    def close(self) -> None:
        """Let go."""
        if self._client is not None:
            self._client.close()


def _plight(error: Exception) -> str:
    """Why a server can't be asked, and what to look at."""
    if isinstance(error, redis.AuthenticationError):
        return "it refuses the login; check the user and password in its URL"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "no answer in time"
    if type(error) is redis.ConnectionError:
        return "no connection; check that it runs, and the host and port in its URL"
    return type(error).__name__


def _text(error: redis.ResponseError) -> str:
    """What the server said; redis-py takes the kinds that it knows away."""
    return f"{error.status_code} {error}" if error.status_code else str(error)


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _login(login: Login | None) -> dict[str, Any]:
    return {} if login is None else {"username": login.user, "password": login.password}


def _secrecy(place: RedisPlace) -> dict[str, Any]:
    tls = place.tls
    if tls is None:
        return {"ssl": False}
    return {
        "ssl": True,
        "ssl_ca_certs": tls.ca_certs,
        "ssl_certfile": tls.certfile,
        "ssl_keyfile": tls.keyfile,
        "ssl_cert_reqs": tls.cert_reqs,
        "ssl_check_hostname": tls.check_hostname and tls.cert_reqs != "none",
    }
