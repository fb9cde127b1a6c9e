"""What an upstream fault is: what the upstream does, what its caller then sees, and what routing makes of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from tests.upstream import Behaviour, End


class Unreachable(enum.Enum):
    """Faults of an address: no request is ever read there."""

    REFUSED = "nobody listens on the port"
    UNRESOLVABLE = "the name has no address"
    BLACKHOLE = "what is sent there is dropped"
    MUTE = "it accepts connections, and never answers the TLS greeting"
    UNTRUSTED = "it signed its certificate itself"


#: What routing learns of the target: nothing; that it answers; that it fails; that it cuts its streams; that it refuses
#: us (it rests for a minute); that we are over its limits (it rests for as long as it asked).
Lesson = Literal["nothing", "ok", "failed", "cut", "refused", "limited"]

Transport = Literal["aiohttp", "httpx"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What comes of a fault."""

    status: int = 502
    code: str | None = "upstream_error"  #: of the error, whether it is the answer or ends a stream that had begun
    type: str | None = "upstream_error"  #: None: there is no error
    text: str | None = None  #: of the answer, as far as it came; None: none had begun
    is_repeated: bool = False  #: is the target asked once more, where it is the only one?
    is_passed_on: bool = True  #: is another target asked, where there is one?
    lesson: Lesson = "failed"
    retry_after_s: tuple[int, int] | None = None  #: the least and the most that `retry-after` may say
    should_retry: str | None = "false"  #: the header `x-should-retry`


FAILED: Final = Seen(is_repeated=True)
#: As it would say the same again, it is not asked again.
NO_ANSWER: Final = Seen()
DOWN: Final = Seen(503, "upstream_unavailable", is_repeated=True)
LATE: Final = Seen(504, "upstream_timeout", is_repeated=True)
#: A whole answer's first byte comes with its last, so only the time for the whole call bounds the wait, which is over.
SPENT: Final = Seen(504, "upstream_timeout", is_passed_on=False)
#: What was said cannot be unsaid: nobody else is asked.
CUT: Final = Seen(200, text="one two", is_passed_on=False, lesson="cut")
STALLED: Final = replace(CUT, code="upstream_timeout")
UNAUTHORISED: Final = Seen(502, "upstream_auth_error", lesson="refused")
MISCONFIGURED: Final = Seen(502, "upstream_misconfigured", lesson="refused")
UNPAID: Final = Seen(503, "upstream_quota_exhausted", lesson="refused")
LIMITED: Final = Seen(429, "rate_limit_exceeded", "rate_limit_error", lesson="limited", should_retry=None)
REJECTED: Final = Seen(400, None, "invalid_request_error", is_passed_on=False, lesson="nothing", should_retry=None)
FINE: Final = Seen(200, None, None, "one two", is_passed_on=False, lesson="ok")

_SOON: Final = "400ms"
#: The time-outs of a model whose target keeps it waiting; the others have time enough for any machine.
_TIMEOUTS: Final[Mapping[Seen, Mapping[str, str]]] = {
    LATE: {"connect": _SOON, "first_token": _SOON, "idle": _SOON},
    STALLED: {"idle": _SOON},
    SPENT: {"total": _SOON},
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `streamed` and `seen_streamed` are what differs where a stream was asked for."""

    name: str
    does: Behaviour | Unreachable
    seen: Seen
    streamed: Behaviour | None = None
    seen_streamed: Seen | None = None
    prompt: str = "Hello"

    def case(self, *, is_stream: bool, transport: Transport = "aiohttp") -> Case:
        """The fault where a stream was asked for, or not, over either of the gateway's transports."""
        does = self.streamed if is_stream and self.streamed is not None else self.does
        seen = self.seen_streamed if is_stream and self.seen_streamed is not None else self.seen
        return Case(self, is_stream, transport, does, seen)


@dataclass(frozen=True, slots=True)
class Case:
    """A fault of a call with stream, or of one without."""

    fault: Fault
    is_stream: bool
    transport: Transport
    does: Behaviour | Unreachable
    seen: Seen

    def __str__(self) -> str:
        over = "" if self.transport == "aiohttp" else f" over {self.transport}"
        return f"{self.fault.name}-{'stream' if self.is_stream else 'JSON'}{over}"

    @property
    def timeouts(self) -> Mapping[str, str]:
        """Those of its model that differ from the usual ones."""
        return _TIMEOUTS.get(self.seen, {})

    @property
    def is_kept(self) -> bool:
        """Is the connection as good as before? Then it must be used again, and closed otherwise."""
        does = self.does
        return isinstance(does, Behaviour) and does.end is End.KEEP and not does.forever
