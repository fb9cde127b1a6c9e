"""How a connection to one server begins: TLS, login, database, and the proof that the server answers in time. A frozen
Redis accepts connections, so a connection alone proves nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from proxy.state.base import StateAway, StateFailed, StateUnusable
from proxy.state.redis_faults import fault_of, kind_of
from proxy.state.redis_place import Address, Login, RedisPlace, Tls
from proxy.state.redis_wire import Trip, Wire

#: How long making a connection may take, in seconds: nobody waits for it.
CONNECT_S: Final = 1.0
#: What `CLIENT LIST` shows.
_NAME: Final = "waystation"
#: The first major version in which scripts say what they need by a line `#!lua flags=…`.
_FLAGS_SINCE: Final = 7
#: What goes wrong with a connection: a host name may be none that IDNA can write.
_FAULTS: Final = (StateFailed, OSError, TimeoutError, UnicodeError)
_DEMANDS: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

Lost = Callable[[Wire, str], None]
Heard = Callable[[Any], None]


class Opened(NamedTuple):
    """A connection that is of use."""

    wire: Wire
    is_old: bool = False  #: a Redis before version 7: scripts go without their line of flags


class Door:
    """Opens connections to the servers of one place."""

    def __init__(self, place: RedisPlace, timeout_s: float) -> None:
        """`timeout_s`: how long an answer may take. Raises StateUnusable if a file for TLS can't be read."""
        self.place = place
        self.timeout_s = timeout_s
        self.unheard = 0
        self._tls = None if place.tls is None else tls_context(place.tls)

    async def open_primary(
        self, addresses: Sequence[Address], lost: Lost = lambda *_: None, heard: Heard | None = None
    ) -> Opened:
        """A connection to the first of these that may be written to, and that has answered a PING in time. Raises
        StateAway with the last one's reason.
        """
        fault = StateAway("no server is known")
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await self._open(address, lost, heard)
            except _FAULTS as error:
                fault = StateAway(f"{address}: {_reason(error)}")
        raise fault

    async def consult(self, address: Address, *command: str, within_s: float = CONNECT_S) -> Any:
        """What a sentinel, or any node of a cluster, answers. Raises StateAway."""
        is_sentinel = self.place.form == "sentinel"
        login = self.place.sentinel_login if is_sentinel else self.place.login
        try:
            async with asyncio.timeout(within_s):
                wire = await self._connect(address, lambda *_: None, None)
                try:
                    if login is not None:
                        await wire.ask(self, *_auth(login))
                    return await wire.ask(self, *command)
                finally:
                    wire.close()
        except _FAULTS as error:
            raise StateAway(f"{address}: {_reason(error)}") from error

    def refused(self, trip: Trip, wire: Wire, text: str) -> None:
        """See Sender."""
        trip.failed(fault_of(kind_of(text), text, str(trip.command[0])))

    async def _open(self, address: Address, lost: Lost, heard: Heard | None) -> Opened:
        wire = await self._connect(address, lost, heard)
        is_good = False
        try:
            opened = await self._greet(wire)
            wire.set_timeout(self.timeout_s)
            await wire.ask(self, "PING")
            is_good = True
            return opened
        finally:
            if not is_good:
                wire.close()

    async def _connect(self, address: Address, lost: Lost, heard: Heard | None) -> Wire:
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: Wire(CONNECT_S, lost, heard), address.host, address.port, ssl=self._tls
        )
        return wire

    async def _greet(self, wire: Wire) -> Opened:
        """Raises StateAway if this server is not the one that was meant."""
        place = self.place
        login = wire.ask(self, *_auth(place.login)) if place.login is not None else _nothing()
        database = wire.ask(self, "SELECT", place.database) if place.database else _nothing()
        named = wire.ask(self, "CLIENT", "SETNAME", _NAME)
        hello = wire.ask(self, "HELLO")
        answers = await asyncio.gather(login, database, named, hello, return_exceptions=True)
        for answer, what in zip(answers, ("login", "database"), strict=False):
            if isinstance(answer, StateAway):
                raise answer
            if isinstance(answer, StateFailed):
                raise StateAway(f"it refuses the {what} of the URL")
        return _read_hello(wire, answers[3])


def _read_hello(wire: Wire, answer: object) -> Opened:
    """What a server says of itself. Whoever forbids HELLO is taken for a primary of a recent version."""
    if isinstance(answer, StateAway):
        raise answer
    if not isinstance(answer, list):
        return Opened(wire)
    said = dict(zip(answer[::2], answer[1::2], strict=False))
    if said.get(b"role", b"master") != b"master":
        raise StateAway("it is a replica, or a sentinel")
    major = bytes(said.get(b"version", b"")).partition(b".")[0]
    return Opened(wire, is_old=major.isdigit() and int(major) < _FLAGS_SINCE)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """What TLS is spoken by. Reads files. Raises StateUnusable."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_certs)
        if tls.certfile is not None:
            context.load_cert_chain(tls.certfile, tls.keyfile, password="")  # nobody is asked for one
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        raise StateUnusable(f"a file that the URL of Redis names for TLS can't be used: {reason}") from error
    context.check_hostname = tls.check_hostname and tls.cert_reqs != "none"
    context.verify_mode = _DEMANDS[tls.cert_reqs]
    return context


def _auth(login: Login) -> tuple[str, ...]:
    return ("AUTH", *((login.user,) if login.user else ()), login.password)


def _reason(error: Exception) -> str:
    if isinstance(error, StateFailed):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT_S:g} s"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _nothing() -> Awaitable[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
