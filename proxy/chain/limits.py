"""Rates: requests a minute, tokens a minute and calls at once, of a team and of a key together, all or nothing: a call
that is refused has used nothing of any of them.

Whether there is a request left is for the `limits` package's moving window to say. It counts in windows of ours, kept
by the names of team and key and on the monotonic clock: the package's own memory storage starts a thread for about
every hit (57 µs of CPU a call at 450 calls/s, against 4), goes by the wall clock, and begins anew when a limit is
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.storage.base import MovingWindowSupport
from limits.strategies import MovingWindowRateLimiter

from proxy.accounting import Hold, Lengths, Limits, Meter, MeterName, Shortage, Window, shortage
from proxy.call import Answer, Call, Handler, Principal
from proxy.chain.facts import input_tokens_of, output_cap_of
from proxy.errors import BooksFull, ClientGone, QuotaSpent, RateLimited
from proxy.observe import Metrics

#: Nobody knows when one of the calls at once will have ended.
_NEXT_TRY_S: Final = 1.0
REQUEST_HEADERS: Final = (
    b"x-ratelimit-limit-requests",
    b"x-ratelimit-remaining-requests",
    b"x-ratelimit-reset-requests",
)
TOKEN_HEADERS: Final = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")
_WHAT: Final = {"rpm": "requests a minute", "tpm": "tokens a minute", "concurrency": "calls at once"}


class _Requests(RateLimitItemPerMinute):
    """So many requests a minute for one meter, known by its name alone: the package would put the number in too."""

    __slots__ = ()

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        return self.namespace


class _Windows(Storage, MovingWindowSupport):
    """The windows of all meters, as the package sees them."""

    STORAGE_SCHEME = None
    base_exceptions = OSError  # what a storage may fail with; this one has no way to

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.windows: dict[str, Window] = {}

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        window, now = self.windows[key], self._clock()
        if not window.has_room(amount, now):
            return False
        window.take(amount, now)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = self._clock()
        return now - expiry, limit - self.windows[key].remaining(now)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.windows[key].take(amount, self._clock())
        return self.get(key)

    def get(self, key: str) -> int:
        window = self.windows[key]
        return window.limit - window.remaining(self._clock())

    def get_expiry(self, key: str) -> float:
        now = self._clock()
        return now + self.windows[key].reset_s(now)

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return None

    def clear(self, key: str) -> None:
        self.windows.pop(key, None)


@dataclass(frozen=True, slots=True)
class _Gate:
    """What one key's calls must pass: its team's meter, its own, or both."""

    meters: tuple[Meter, ...]
    items: tuple[_Requests, ...]  #: of the meters that limit requests
    requests: tuple[Window, ...]  #: theirs
    tokens: tuple[Window, ...]  #: those of the meters that limit tokens


class Meters:
    """Every account, by team and key. Outlives worlds: a changed config changes limits, never what was used of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self.clock = clock
        self._storage = _Windows(clock)
        self.strategy = MovingWindowRateLimiter(self._storage)
        self._meters: dict[MeterName, Meter] = {}
        self._lengths: dict[tuple[str, str], Lengths] = {}

    def adapt(self, limits: Mapping[MeterName, Limits]) -> None:
        """From now on these are the limits; whoever is not named has none."""
        for name in self._meters.keys() - limits.keys():
            self._meters[name].limit_to(Limits())
        for name, rates in limits.items():
            if name not in self._meters:
                meter = self._meters[name] = Meter(name)
                self._storage.windows[meter.id] = meter.requests
            self._meters[name].limit_to(rates)

    def tidy(self) -> None:
        """Forget meters without limits on which nothing is left. Call it when no world is left that knows them."""
        now = self.clock()
        for meter in list(self._meters.values()):
            if not meter.limits.any and meter.is_at_rest(now):
                del self._meters[meter.name]
                self._storage.clear(meter.id)

    def gate(self, *names: MeterName) -> _Gate:
        """What a call that these meters are kept for must pass; those without limits are left out."""
        meters = tuple(meter for name in names if (meter := self._meters.get(name)) is not None and meter.limits.any)
        by_requests = [(meter, rpm) for meter in meters if (rpm := meter.limits.rpm) is not None]
        return _Gate(
            meters,
            tuple(_Requests(rpm, namespace=meter.id) for meter, rpm in by_requests),
            tuple(meter.requests for meter, _ in by_requests),
            tuple(meter.tokens for meter in meters if meter.limits.tpm is not None),
        )

    def lengths(self, team: str, model: str) -> Lengths:
        """How long this model's answers are for this team."""
        found = self._lengths.get((team, model))
        if found is None:
            found = self._lengths[team, model] = Lengths()
        return found


class Limiter:
    """The layer after auth, one a world, and only in worlds that have limits."""

    def __init__(self, meters: Meters, limits: Mapping[MeterName, Limits], metrics: Metrics) -> None:
        """`limits`: those that `meters` go by from this world on."""
        self._meters = meters
        self._metrics = metrics
        self._teams = {name[0]: meters.gate(name) for name in limits if len(name) == 1}
        self._keys = {name: meters.gate(name[:1], name) for name in limits if len(name) == 2}

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Reserve, then go on. Raises RateLimited."""
        principal = call.principal
        if principal is not None:
            hold = self.enter(call, principal)
            if hold is not None:
                try:
                    return await next(call)
                except (QuotaSpent, BooksFull):
                    self.cancel(hold)
                    raise
        return await next(call)

    def enter(self, call: Call, principal: Principal) -> Hold | None:
        """Reserve what its key's calls must; None: there are no limits. Given back when the call is over. Raises
        RateLimited.
        """
        gate = self._keys.get((principal.team, principal.key_name)) or self._teams.get(principal.team)
        return None if gate is None else self._enter(call, gate, principal.team)

    def cancel(self, hold: Hold) -> None:
        """It was refused for something else, and has used nothing."""
        hold.cancel(self._meters.clock())

    def _enter(self, call: Call, gate: _Gate, team: str) -> Hold:
        """One step of the event loop, nothing is awaited: what is checked here is still so when it is taken."""
        now, strategy = self._meters.clock(), self._meters.strategy
        call.rate_headers = partial(_headers, gate, self._meters.clock)
        lengths, tokens = None, 0
        if gate.tokens:
            lengths = self._meters.lengths(team, call.model)
            tokens = tokens_of(call, lengths)
        for meter in gate.meters:
            if not meter.has_room(tokens, now):
                raise self._refuse(call, gate, team, tokens, now)
        if gate.items:
            *others, last = gate.items
            if not all(map(strategy.test, others)) or not strategy.hit(last):
                raise self._refuse(call, gate, team, tokens, now)
            for item in others:
                strategy.hit(item)
        hold = Hold(gate.meters, tokens, now)
        call.on_last_byte.append(hold.leave)
        call.closing.callback(self._settle, call, hold, lengths)
        return hold

    def _settle(self, call: Call, hold: Hold, lengths: Lengths | None) -> None:
        hold.leave()
        if lengths is None:
            return
        used_tokens = tokens_used(call, lengths)
        if used_tokens is not None:
            hold.settle(used_tokens, self._meters.clock())

    def _refuse(self, call: Call, gate: _Gate, team: str, tokens: int, now: float) -> RateLimited:
        short = shortage(gate.meters, tokens, now)
        assert short is not None, "a call is refused for a reason"
        return refuse(call, team, short, tokens, self._metrics)


def tokens_of(call: Call, lengths: Lengths) -> int:
    """What a call is expected to take of its tokens a minute."""
    request = call.request
    return input_tokens_of(request) + lengths.expect(output_cap_of(request.body), request.n)


def tokens_used(call: Call, lengths: Lengths) -> int | None:
    """What a call that is over has used of them; None: what was reserved stands. Learns how long its answer was."""
    usage = call.usage
    if usage is not None:
        if call.error is None and call.request.n:  # embeddings have no length
            lengths.learn(usage.output_tokens, call.request.n)
        return usage.input_tokens + usage.output_tokens
    if call.answered is None and not (call.attempts and call.error == ClientGone.kind):
        return 0  # nobody answered; a fixed or a cached answer used nothing either
    return None  # a provider was at work and did not say how much it was


def refuse(call: Call, team: str, short: Shortage, tokens: int, metrics: Metrics) -> RateLimited:
    """The refusal of a call that was expected to take so many tokens; counted."""
    call.limited_by = short.name
    metrics.limit_refused(team, short.name)
    wait_s = _NEXT_TRY_S if short.wait_s is None else short.wait_s
    error = RateLimited(_message(short, tokens, wait_s))
    error.type = "tokens" if short.limit == "tpm" else "requests"
    error.retry_after_s = wait_s
    return error


def _message(short: Shortage, tokens: int, wait_s: float) -> str:
    text = f"Your {short.whose}'s limit on {_WHAT[short.limit]} is reached: {short.size:,}."
    if short.wait_s is None:
        return f"{text} Wait until one of them has ended, or ask whoever runs this gateway for a higher limit."
    if short.limit == "tpm":
        text += f" Of these {short.remaining:,} are left, and this call is expected to take {tokens:,}."
    return f"{text} Try again in {ceil(wait_s * 10) / 10:g} s, or ask whoever runs this gateway for a higher limit."


# -- what the client is told --


def _headers(gate: _Gate, clock: Callable[[], float]) -> list[tuple[bytes, bytes]]:
    """`x-ratelimit-*` as it is now, each of the limit that leaves less: the team's, or the key's."""
    now = clock()
    headers: list[tuple[bytes, bytes]] = []
    for windows, (limit, remaining, reset) in ((gate.requests, REQUEST_HEADERS), (gate.tokens, TOKEN_HEADERS)):
        if windows:
            window, left = windows[0], windows[0].remaining(now)
            for other in windows[1:]:
                if (less := other.remaining(now)) < left:
                    window, left = other, less
            headers += (
                (limit, b"%d" % window.limit),
                (remaining, b"%d" % left),
                (reset, duration(window.reset_s(now))),
            )
    return headers


def duration(seconds: float) -> bytes:
    """A time span as OpenAI writes it: `250ms`, `1s`, `59.5s`, `6m0s`. Rounded up to milliseconds."""
    ms = ceil(seconds * 1000)
    if ms < 1000:
        return b"%dms" % ms
    minutes, ms = divmod(ms, 60_000)
    rest = b"%gs" % (ms / 1000)
    return b"%dm%s" % (minutes, rest) if minutes else rest
