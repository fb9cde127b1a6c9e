"""What travels through the chain: a Call going down, an Answer climbing back; and the one protocol of the layers
between.

Two rules carry the design. Whoever reserves something registers its return on `call.closing` in the same function;
the answer writer closes it exactly once, whatever happened (a generator's `finally` never runs if the client leaves
before the first chunk; this does). And a stream travels as blocks: bytes holding whole SSE events, parsed
only where somebody must.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVarTuple

from proxy.state.entries import Role
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import Embeddings
from proxy.wire.usage import Usage
from routing import Facts, Outcome, Plan

Ts = TypeVarTuple("Ts")
#: A plan: when it was made (monotonic seconds), and of what.
Planned = tuple[float, Facts, Plan]
#: Header names are lower case, as ASGI gives them.
RequestHeaders = Mapping[bytes, bytes]
ResponseHeaders = Sequence[tuple[bytes, bytes]]


class Closing:
    """What is to be returned when a call is over, the last taken first. contextlib's exit stack takes 4 µs for
    what takes 1 µs where nothing may swallow an exception.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[object, ...], bool]] = []

    def callback(self, step: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call this at the end."""
        self._steps.append((step, args, False))

    def push_async_callback(self, step: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Await this at the end."""
        self._steps.append((step, args, True))

    async def aclose(self) -> None:
        """Do it all, each step once, even if others fail or are cancelled; then raise what the last of these raised."""
        steps = self._steps
        try:
            while steps:
                step, args, is_awaited = steps.pop()
                result = step(*args)
                if is_awaited:
                    await result  # type: ignore[misc]  # as it was pushed
        finally:
            if steps:
                await self.aclose()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a client key, and what its team may do."""

    team: str
    key_name: str
    models: frozenset[str] | None  #: configured model names this team may use; None allows all
    expires_at: float | None = None  #: Unix time in seconds; None never expires
    priority: int = 5  #: 0 to 9: of those who wait, the higher goes first

    def may_use(self, model: str) -> bool:
        """Is this configured model (not an alias) allowed?"""
        return self.models is None or model in self.models


class PriceTag(Protocol):
    """What a target charges."""

    @property
    def version(self) -> str:
        """Names these very prices."""
        ...

    def cost_nusd(self, usage: Usage) -> int:
        """For the tokens that were reported, in nano-dollars."""
        ...

    def bound_nusd(self, input_tokens: int, output_tokens: int) -> int:
        """For so many tokens at most, in nano-dollars."""
        ...


@dataclass(slots=True)
class Attempt:
    """One try at one target."""

    target: str
    model: str  #: as the provider calls it
    provider: str
    started_at: float  #: monotonic seconds
    #: time spent waiting for the provider, up to its first event or its whole JSON body; None while that goes on
    waited_s: float | None = None
    error: str | None = None  #: `kind` of the failure; None while it goes well
    usage: Usage | None = None  #: as reported by the provider; None while nothing was reported
    cost_nusd: int | None = None  #: of that usage, in nano-dollars; None: nothing was reported, or it has no price
    is_repeatable: bool = True  #: may the same target be asked again? Not if it would say the same
    outcome: Outcome | None = None  #: what routing was told of it; None while it is under way
    dropped: tuple[str, ...] = ()  #: request parameters that were left out of what it was sent, by the config
    role: Role = "first"  #: why it was made
    price: PriceTag | None = None  #: what its target charges; None: nobody knows
    may_be_billed: bool = False  #: was the provider at work, whether or not it said how much?
    produced_tokens: int | None = None  #: output that came, by our own rough count; None: none did
    credential_id: str = ""  #: which of the provider's credentials was used
    upstream_id: object = None  #: what the provider calls its answer; whatever stood in that place
    service_tier: object = None  #: the same for how it was served

    @property
    def may_cost(self) -> bool:
        """May it be billed, for all that is known by now? Not if it ended before a provider was at work."""
        return self.outcome is None or self.may_be_billed or self.usage is not None or self.produced_tokens is not None


class Claim(Protocol):
    """What a call holds that other processes hold of, too."""

    def settle(self, call: Call, cost_nusd: int, tokens: int) -> bool:
        """The call is over and was booked with so much: free what it holds. Once. False: it is not counted there."""
        ...


TierName = Literal["simple", "middle", "hard"]


@dataclass(frozen=True, slots=True)
class Tier:
    """How hard a call looked."""

    name: TierName
    complexity: float  #: 0..1
    model: str  #: the configured model that the client named
    note: str = ""  #: why nothing came of it: `shadow`, `not allowed`

    def __str__(self) -> str:
        """As the header says it: `simple`, or `hard; shadow`."""
        return f"{self.name}; {self.note}" if self.note else self.name


@dataclass(frozen=True, slots=True)
class CacheNote:
    """What the cache had to do with a call."""

    #: `exact`: it had the answer; `semantic`: it had one to a question that means the same; `coalesced`: another call
    #: that was under way has got it; `miss`; `bypass`: not asked
    result: Literal["exact", "semantic", "coalesced", "miss", "bypass"]
    age_s: int = 0  #: of a stored answer
    saved_nusd: int = 0  #: what the answer cost when somebody paid for it, in nano-dollars
    probability: float | None = None  #: that a `semantic` one is right

    @property
    def is_hit(self) -> bool:
        """Was no provider asked on this call's behalf?"""
        return self.result in ("exact", "semantic", "coalesced")


@dataclass(slots=True)
class Call:
    """One client request, from its first byte to its last. The only mutable value of the chain."""

    id: str  #: made here, unique; what the books know the call by
    request_id: str  #: what the client sees in `x-request-id`: its own if sane, else `id`
    received_at: float  #: monotonic seconds
    headers: RequestHeaders  #: as they stood before the body was read (trailers can't add to them)
    request: ChatRequest
    model: str = ""  #: the configured model that `request.model` names, or one of its tiers; empty until resolved
    principal: Principal | None = None
    attempts: list[Attempt] = field(default_factory=list)
    answered: Attempt | None = None  #: the attempt whose answer the client gets; None while there is none
    is_rescued: bool = False  #: did the answer go on at another target after its stream was cut?
    plans: list[Planned] = field(default_factory=list)  #: what routing answered, each time that it was asked
    usage: Usage | None = None  #: as reported for all attempts together; None while nothing was reported
    cost_nusd: int | None = None  #: of all attempts that have a price, in nano-dollars; None: there is none
    began_at: float = 0.0  #: Unix time in seconds, in whole milliseconds: when it is booked
    counted_at: float = 0.0  #: the same for quotas, of which no period begins again when the clock is set back
    booked_nusd: int | None = None  #: what it came to in the books, estimates included; None: it is not settled
    queued_s: float = 0.0  #: time spent in the queue, where that is over
    queued_at: float | None = None  #: monotonic seconds; since when it stands in the queue, None while it does not
    first_block_at: float | None = None  #: monotonic seconds; when the first byte of the answer's body was ready
    tier: Tier | None = None  #: None: the model has no tiers
    downgraded_from: str | None = None  #: the configured model that a spent quota was in the way of
    cache: CacheNote | None = None  #: None: its model has no cache
    #: No provider may be asked, only the cache: a quota is spent. Gives the refusal. None: nothing is in the way.
    unpaid: Callable[[], Exception] | None = None
    #: Gives the nearest answer that the cache has, however unsure, for when nobody else answers; None if it has none.
    spare: Callable[[], Awaitable[Answer | None]] | None = None
    sought: object = None  #: what the cache began to look for before its turn: its own business
    strategy: str = ""  #: how routing ordered the last plan
    fallback: str | None = None  #: what answered in place of `model`: another configured model, `cache` or `static`
    status: int = 0  #: HTTP status the client was sent, or would have been; 0 while that is open
    failed_status: int | None = None  #: where a fixed answer hides a failure: the status it would have had
    error: str | None = None  #: `kind` of the error the call ended in
    limited_by: str | None = None  #: which limit refused it: `team_rpm`, `key_tpm` …
    #: What the answer's headers say of the caller's rates, as it is when they go out; None: there are none.
    rate_headers: Callable[[], ResponseHeaders] | None = None
    #: Called in this order just before the last byte goes out: takes what was reported by then, frees what the client
    #: may want for its next call. `closing` comes later, when the provider has been let go.
    on_last_byte: list[Callable[[], None]] = field(default_factory=list)
    #: Awaited just before the last byte goes out, behind these: records what the call came to. None: nobody does.
    record: Callable[[Call], Awaitable[object]] | None = None
    #: Is what one more attempt may cost covered, whatever those before it will? Reserves it; it may have so many tokens
    #: of input beyond the request's own. None: nobody minds.
    cover: Callable[[Call, int], Awaitable[bool]] | None = None
    #: What it holds of rates and quotas that many processes share. None: nothing, or what it holds is this process's.
    claim: Claim | None = None
    closing: Closing = field(default_factory=Closing)

    @property
    def last_attempt(self) -> Attempt | None:
        """The attempt that answered, or else the latest."""
        return self.answered or (self.attempts[-1] if self.attempts else None)

    def waited_by(self, now: float) -> float:
        """Seconds spent waiting by `now` (monotonic), in the queue or for providers, attempts that ran side by side
        counted once; the rest of the duration is our own overhead.
        """
        waited_s = self.queued_s if self.queued_at is None else self.queued_s + now - self.queued_at
        until = 0.0
        for attempt in self.attempts:
            begin = max(attempt.started_at, until)
            until = now if attempt.waited_s is None else min(now, attempt.started_at + attempt.waited_s)
            waited_s += max(0.0, until - begin)
            until = max(until, begin)
        return waited_s


@dataclass(slots=True)
class Answer:
    """What a layer gives back: a whole body, or a stream of blocks, never both."""

    status: int
    headers: ResponseHeaders
    source: str  #: `upstream`, `static` or `cache:exact`; later also `cache:semantic`, `template`
    body: bytes = b""
    embeddings: Embeddings | None = None  #: what a body is to be made of, in the layers behind the one that makes it
    #: Each block holds whole SSE events. A failure after the first block is raised from it as a GatewayError.
    blocks: AsyncIterator[bytes] | None = None


Handler = Callable[[Call], Awaitable[Answer]]


class Middleware(Protocol):
    """One layer of the chain."""

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Answer the call, by oneself or through `next`. A refusal is raised as a GatewayError."""
        ...


def chain(layers: Sequence[Middleware], endpoint: Handler) -> Handler:
    """Fold the layers around the endpoint; the first layer is the outermost. Done once a world, never per call."""
    handler = endpoint
    for layer in reversed(layers):
        handler = _bind(layer, handler)
    return handler


def _bind(layer: Middleware, inner: Handler) -> Handler:
    def handle(call: Call) -> Awaitable[Answer]:
        return layer(call, inner)

    return handle
