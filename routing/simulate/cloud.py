"""The simulated providers: what becomes of an attempt sent to one of them now.

Knows nothing of routers, retries or clients. Times are seconds since the trace began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf
from typing import Final
from zlib import crc32

from routing.simulate.faults import Fault
from routing.simulate.luck import Luck, draw
from routing.simulate.profiles import Profile
from routing.simulate.trace import Request
from routing.types import Kind, RateLimits

_CROWD: Final = -2  #: the "target" whose luck is the seconds of a storm
_LEAST_SIGMA: Final = 1e-3  #: of what is to be expected where nothing is left to luck
_REFUSAL_S: Final = 0.05  #: how long a 429 takes
_CACHE_BLOCK: Final = 128  #: a prompt cache keeps whole blocks of so many tokens ...
_CACHE_LEAST: Final = 1024  #: ... and nothing shorter than this


@dataclass(frozen=True, slots=True)
class Fate:
    """What will become of an attempt if nobody cancels it; durations from its sending."""

    kind: Kind  #: `ok`, `cut`, `failed`, `rate_limited`; `timeout`: no answer ever comes
    first_s: float  #: until the first token; inf: there is none
    end_s: float  #: until it ends; inf: never
    output_tokens: int = 0  #: produced until then
    cached_tokens: int = 0
    tokens_per_s: float = 0.0
    retry_after_s: float | None = None
    limits: RateLimits | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is to be expected of an attempt, luck aside."""

    p_ok: float  #: that it is answered at all
    p_cut: float  #: that its stream breaks, if it is
    median_s: float  #: until the first token
    sigma: float  #: deviation of the logarithm of that, above 0
    used: float  #: 0..1: the share of the target's limits in use


class _Allowance:
    """A provider's limit a minute: a bucket that holds some seconds' worth and refills evenly."""

    __slots__ = ("_at", "_level", "limit", "size")

    def __init__(self, limit: int | None, burst_s: float) -> None:
        self.limit = limit
        self.size = (limit or 0) * burst_s / 60
        self._level = self.size
        self._at = 0.0

    def left(self, at: float) -> float:
        if self.limit is None:
            return inf
        return min(self.size, self._level + (at - self._at) * self.limit / 60)

    def wait_s(self, amount: float, at: float) -> float:
        """Seconds until `amount` may be taken; what exceeds the bucket itself needs a full one."""
        if self.limit is None:
            return 0.0
        return max(0.0, min(amount, self.size) - self.left(at)) * 60 / self.limit

    def take(self, amount: float, at: float) -> None:
        self._level = self.left(at) - amount
        self._at = at


class _Server:
    """One target: its profile, its faults, and what it has in hand."""

    __slots__ = ("code", "faults", "in_flight", "profile", "prompts", "requests", "tokens")

    def __init__(self, profile: Profile, faults: Sequence[Fault]) -> None:
        self.profile = profile
        self.faults = tuple(fault for fault in faults if profile.name in fault.targets)
        self.code = crc32(profile.name.encode())
        self.requests = _Allowance(profile.target.capacity.rpm, profile.burst_s)
        self.tokens = _Allowance(profile.target.capacity.tpm, profile.burst_s)
        self.in_flight = 0
        self.prompts: dict[int, tuple[float, int]] = {}

    def wait_s(self, tokens: int, at: float) -> float:
        return max(self.requests.wait_s(1, at), self.tokens.wait_s(tokens, at))

    def used(self, at: float) -> float:
        """Share of the scarcer limit that is gone; 0 where there is none."""
        left = [one.left(at) / one.size for one in (self.requests, self.tokens) if one.limit is not None]
        return min(1.0, max(0.0, 1.0 - min(left, default=1.0)))

    def load(self) -> float:
        """What one more attempt would meet: 1 up to where the target slows down."""
        knee = self.profile.saturates_at
        return max(1.0, (self.in_flight + 1) / knee) if knee else 1.0

    def cached_tokens(self, request: Request, at: float) -> int:
        """The part of the prompt that is still cached from a request with the same `sticky`."""
        ttl_s = self.profile.cache_ttl_s
        if ttl_s is None or request.sticky is None or request.sticky not in self.prompts:
            return 0
        seen_at, seen_tokens = self.prompts[request.sticky]
        shared = min(seen_tokens, request.input_tokens)
        return shared // _CACHE_BLOCK * _CACHE_BLOCK if at - seen_at <= ttl_s and shared >= _CACHE_LEAST else 0

    def limits(self, at: float) -> RateLimits | None:
        """What the headers of an answer say: the truth, at the time of sending."""
        rpm, tpm = self.requests.limit, self.tokens.limit
        if rpm is None and tpm is None:
            return None
        requests, tokens = self.requests.left(at), self.tokens.left(at)
        return RateLimits(
            at,
            rpm,
            None if rpm is None else max(0, int(requests)),
            tpm,
            None if tpm is None else max(0, int(tokens)),
            None if rpm is None else (self.requests.size - requests) * 60 / rpm,
            None if tpm is None else (self.tokens.size - tokens) * 60 / tpm,
        )


class Cloud:
    """All providers of one simulation. The same seed gives the same luck to whoever asks."""

    def __init__(self, profiles: Sequence[Profile], faults: Sequence[Fault] = (), seed: int = 0) -> None:
        self._servers = {profile.name: _Server(profile, faults) for profile in profiles}
        self._seed = seed

    def profile(self, target: str) -> Profile:
        """Raises KeyError for a target that is not there, as all methods do."""
        return self._servers[target].profile

    def in_flight(self, target: str) -> int:
        """Attempts that were sent and have not ended."""
        return self._servers[target].in_flight

    def peek(self, request: Request, target: str, attempt: int, at: float) -> Fate:
        """What would become of this attempt if it were sent now; changes nothing. `attempt` counts from 0 the times
        that this request was sent to this target.
        """
        server = self._servers[target]
        luck = draw(self._seed, request.index, server.code, attempt)
        slowdown, is_cut = 1.0, False
        for fault in server.faults:
            if not fault.is_on(at):
                continue
            if fault.kind == "hang":
                return Fate("timeout", inf, inf)
            if fault.kind == "error" and luck.fails < fault.rate:
                soonest_s, latest_s = fault.fails_in_s
                return Fate("failed", inf, soonest_s + luck.delay * (latest_s - soonest_s))
            if fault.kind == "storm" and self._is_refusing(at, fault.rate):
                return _storm(server, luck, at)
            slowdown *= fault.slowdown(at)
            is_cut = is_cut or (fault.kind == "cut" and luck.fails < fault.rate)
        wait_s = server.wait_s(_size(request), at)
        if wait_s > 0:
            return Fate("rate_limited", inf, _REFUSAL_S, retry_after_s=wait_s, limits=server.limits(at))
        return _answer(server, request, luck, at, slowdown, is_cut)

    def prospect(self, input_tokens: int, output_tokens: int, target: str, at: float) -> Prospect | None:
        """What an attempt of this size may expect if it is sent now, nothing of it being cached; None: it is refused.
        That a storm refuses it is luck.
        """
        server, profile = self._servers[target], self._servers[target].profile
        if server.wait_s(input_tokens + output_tokens, at) > 0:
            return None
        p_ok, p_cut, slowdown = 1.0, 0.0, 1.0
        for fault in server.faults:
            if fault.is_on(at):
                p_ok *= 0.0 if fault.kind == "hang" else 1.0 - fault.rate if fault.kind == "error" else 1.0
                p_cut = max(p_cut, fault.rate) if fault.kind == "cut" else p_cut
                slowdown *= fault.slowdown(at)
        median_s = profile.typical_ttft_s(input_tokens) * server.load() ** 2 * slowdown
        return Prospect(p_ok, p_cut, median_s, max(profile.ttft_sigma, _LEAST_SIGMA), server.used(at))

    def _is_refusing(self, at: float, rate: float) -> bool:
        """A storm's victims share a crowd: they refuse in the same seconds."""
        return draw(self._seed, int(at), _CROWD, 0).fails < rate

    def send(self, request: Request, target: str, attempt: int, at: float) -> Fate:
        """Send the attempt: as `peek`, but it counts against the target's limits, and is in flight until `ended`."""
        fate = self.peek(request, target, attempt, at)
        server = self._servers[target]
        server.in_flight += 1
        if fate.first_s < inf:
            # A real provider reserves the stated cap or a guess of its own; here it knows the true length at once.
            server.requests.take(1, at)
            server.tokens.take(_size(request), at)
            if request.sticky is not None:
                server.prompts[request.sticky] = (at, request.input_tokens)
        return fate

    def ended(self, target: str) -> None:
        """An attempt that was sent is over, or was cancelled."""
        self._servers[target].in_flight -= 1


def _size(request: Request) -> int:
    return request.input_tokens + request.output_tokens


def _storm(server: _Server, luck: Luck, at: float) -> Fate:
    """A 429 without a word of explanation, or with headers that claim all is well."""
    rpm, tpm = server.requests.limit, server.tokens.limit
    lie = RateLimits(at, rpm, rpm, tpm, tpm, 0.0, 0.0) if luck.headers < 0.5 else None
    return Fate("rate_limited", inf, _REFUSAL_S, limits=lie)


def _answer(server: _Server, request: Request, luck: Luck, at: float, slowdown: float, is_cut: bool) -> Fate:
    profile = server.profile
    load = server.load()
    cached = server.cached_tokens(request, at)
    # A self-hosted server beyond its knee: every prompt waits for the others' prompts and for their tokens.
    usual_s = profile.typical_ttft_s(request.input_tokens - cached) * load * load
    first_s = usual_s * slowdown * exp(profile.ttft_sigma * luck.ttft)
    tokens_per_s = profile.tokens_per_s / load * exp(profile.speed_sigma * luck.speed)
    # At least one token comes before the break, and at least one is missing.
    is_cut = is_cut and request.output_tokens >= 2
    output = 1 + int(luck.cuts * (request.output_tokens - 1)) if is_cut else request.output_tokens
    return Fate(
        "cut" if is_cut else "ok",
        first_s,
        first_s + output / tokens_per_s,
        output,
        cached,
        tokens_per_s,
        limits=server.limits(at),
    )
