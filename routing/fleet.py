"""Every target's state, by name: health, breaker, pacer, limit. One fleet outlives the worlds: a reload keeps what was
learned, and two models that share a target share its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import exp, inf, isfinite
from typing import Final

from routing.breaker import Breaker, BreakerSettings
from routing.concurrency import ConcurrencyLimit
from routing.health import Health
from routing.obstacles import BROKEN, DRAINED, FULL, LIMITED, PACED, is_askable
from routing.pacer import Pacer
from routing.types import Capacity, Outcome, Target

#: All of a provider's credentials were refused.
_REFUSED_S: Final = 60.0

#: What the breaker makes of an outcome. A 429 is the credential's matter, a 400 the client's: it learns nothing.
_BREAKS: Final = {"ok": False, "cut": True, "failed": True, "timeout": True}
#: What one more stream counts for in a target's usual speed.
_SPEED_STEP: Final = 0.05
#: A stream that has not begun after so many times what it should take is overdue.
_OVERDUE: Final = 2.5
#: So many at a time are listened to: enough to hear of trouble, and little to keep where thousands are under way.
_MOST_HEARD: Final = 16
#: Fifty answers a second say all there is to know: of a target that gives more, the others are passed over.
_GAP_S: Final = 0.02
#: From that many first tokens on, a target is no stranger.
_KNOWN_SAMPLES: Final = 5
#: From that many on, its silence is judged by what it usually needs: so many deviations more, and so long at least.
_WELL_KNOWN: Final = 20
_PATIENT: Final = 4.0
_LEAST_PATIENCE_S: Final = 5.0
#: What timed out sooner was not given up for its silence: no connection came about (two seconds, by default), or the
#: provider said so itself.
_SILENCE_S: Final = 3.0


class TargetState:
    """One target's. Who sends an attempt calls `began`, and `ended` once, whatever becomes of it."""

    __slots__ = (
        "_due",
        "_heard_at",
        "_heard_whole_at",
        "_hears_first_tokens",
        "_listened_at",
        "_under_way",
        "asked_at",
        "breaker",
        "capacity",
        "drained_until",
        "health",
        "in_flight",
        "limit",
        "listens_at",
        "pacer",
        "tokens_per_s",
    )

    def __init__(self, capacity: Capacity, breaker: BreakerSettings) -> None:
        self.capacity = capacity
        self.breaker = Breaker(breaker)
        self.pacer = Pacer(capacity.rpm, capacity.tpm)
        self.limit = _limit_of(capacity)
        self.health = Health()
        self.in_flight = 0
        self.asked_at = -inf  #: when the last attempt was sent
        self.drained_until = -inf  #: by an operator's order
        self.tokens_per_s: float | None = None  #: of its streams once they have begun, lately; None: unknown
        # By the time of sending: how many were in flight, itself included, and how slow it was to begin, if it has.
        self._under_way: dict[float, tuple[int, float | None]] = {}
        # By the time of sending, of some that have not begun yet: when to wonder about them, and their prompts.
        self._due: dict[float, tuple[float, int]] = {}
        self._hears_first_tokens = False
        # When one was last learned from, when listened to, and when an answer that came whole was last learned from.
        self._heard_at = self._listened_at = self._heard_whole_at = -inf
        self.listens_at = inf  #: when `listen` may learn something

    def adapt(self, capacity: Capacity) -> None:
        """Another config says what it can take: what was learned of its health stays."""
        self.capacity = capacity
        self.pacer = Pacer(capacity.rpm, capacity.tpm, self.pacer.tally)
        self.limit = _limit_of(capacity)
        if self.limit is not None:
            for _ in range(self.in_flight):
                self.limit.began()

    def obstacle(self, tokens: int, now: float) -> tuple[str, float | None] | None:
        """Why no attempt of that many tokens may be sent now, and for how many seconds; None if it may."""
        if now < self.drained_until:
            return DRAINED, self.drained_until - now
        if not (self.breaker.is_closed or self.breaker.is_allowed(now)):
            return BROKEN, self.breaker.open_for_s(now) or None  # None: its probe has to end
        if self.limit is not None and not self.limit.is_allowed():
            return FULL, None
        wait_s = self.pacer.wait_s(tokens, now)
        if wait_s <= 0:
            return None
        return (LIMITED if self.pacer.is_blocked(now) else PACED), wait_s

    def is_stranger(self, now: float) -> bool:
        """Is it being tried out already, while nobody knows how it is? A herd would find out all at once: so the first
        few answers of a new target are waited for, one more attempt at a time, and so is the first one of a target that
        was slow when last heard of.
        """
        in_flight = self.in_flight
        return in_flight > 0 and (in_flight > self.health.samples < _KNOWN_SAMPLES or self.health.was_slow(now))

    def began(self, tokens: int, now: float, input_tokens: int | None = None) -> None:
        """An attempt of about that many tokens is being sent; `input_tokens`: of a stream, whose beginning is told."""
        if now >= self.listens_at:
            self.listen(now)  # no plan may ever ask for it: so what is due does not pile up
        self.in_flight += 1
        is_heard = self._hears_first_tokens and now - self._listened_at >= _GAP_S and len(self._due) < _MOST_HEARD
        if is_heard and input_tokens is not None:
            self._listened_at = now
            median_s, _ = self.health.ttft_s(input_tokens, self.in_flight, now)
            due_at = now + _OVERDUE * median_s
            self._due[now] = due_at, input_tokens
            if due_at < self.listens_at:
                self.listens_at = due_at
        self._under_way[now] = self.in_flight, None
        self.asked_at = now
        self.breaker.began(now)
        if self.limit is not None:
            self.limit.began()
        self.pacer.began(tokens, now)

    def patience_s(self, input_tokens: int, now: float) -> float:
        """After how many seconds without a first token another target is the better hope; inf: nobody knows it well
        enough to say. One answer in some 30,000 takes as long.
        """
        if self.health.first_tokens < _WELL_KNOWN:
            return inf
        median_s, sigma = self.health.ttft_s(input_tokens, max(1, self.in_flight), now)
        return max(_LEAST_PATIENCE_S, median_s * exp(_PATIENT * sigma))

    def first_token(self, started_at: float, uncached_tokens: int, now: float) -> None:
        """Learn from the first token of an attempt that was sent at `started_at`, as soon as it comes."""
        self._hears_first_tokens = True
        self._due.pop(started_at, None)
        self.pacer.accepted()
        if now - self._heard_at < _GAP_S:
            return
        self._heard_at = now
        in_flight, _ = self._under_way.get(started_at, (1, None))
        slowness = self.health.began_to_answer(now - started_at, uncached_tokens, now, in_flight)
        self._under_way[started_at] = in_flight, slowness

    def listen(self, now: float) -> None:
        """Learn from silence: an attempt that should long have begun to answer says so before it does, or does not."""
        overdue = [(started_at, tokens) for started_at, (due_at, tokens) in self._due.items() if now >= due_at]
        for started_at, input_tokens in overdue:
            del self._due[started_at]
            in_flight, _ = self._under_way.get(started_at, (1, None))
            self.health.kept_waiting(now - started_at, input_tokens, now, in_flight)
        self.listens_at = min((due_at for due_at, _ in self._due.values()), default=inf)

    def ended(self, outcome: Outcome, now: float, is_stream: bool = True) -> None:
        """Learn from what became of an attempt; `is_stream`: whether its answer was to come piece by piece."""
        self.in_flight -= 1
        in_flight, slowness = self._under_way.pop(outcome.started_at, (1, None))
        if self._due:
            self._due.pop(outcome.started_at, None)
        kind = outcome.kind
        self.breaker.ended(_BREAKS.get(kind), now, outcome.started_at)
        slowness = self._learn(outcome, now, is_stream, in_flight) or slowness
        if self.limit is not None:
            self.limit.ended(slowness, kind in ("rate_limited", "timeout"), now)
        if outcome.limits is not None:
            self.pacer.told(outcome.limits, now)
        if outcome.reserved_tokens:
            used = outcome.input_tokens + outcome.output_tokens
            self.pacer.ended(outcome.reserved_tokens, used if kind == "ok" and used else None, now)
        if kind == "rate_limited":
            self.pacer.refused(outcome.retry_after_s, outcome.started_at, now)
        elif kind == "ok":
            self.pacer.accepted()
        elif kind == "refused":
            self.breaker.cool_down(_REFUSED_S, now)

    def _learn(self, outcome: Outcome, now: float, is_stream: bool, in_flight: int) -> float | None:
        kind, health = outcome.kind, self.health
        uncached_tokens = max(0, outcome.input_tokens - outcome.cached_tokens)
        slowness = None
        ttft_s = outcome.ttft_s if outcome.ttft_s is not None and isfinite(outcome.ttft_s) else None
        if ttft_s is not None and kind in ("ok", "cut", "outrun", "gone"):
            if not outcome.is_ttft_told:
                slowness = health.began_to_answer(ttft_s, uncached_tokens, now, in_flight)
            self._learn_speed(outcome)
        elif kind == "ok" and not is_stream and now - self._heard_whole_at >= _GAP_S:
            self._heard_whole_at = now
            slowness = health.came_whole(outcome.duration_s, uncached_tokens, outcome.output_tokens, now)
        if kind in ("ok", "cut"):
            health.ended(True, now)
            if is_stream:
                health.streamed(kind == "cut", now)
        elif kind == "timeout" and is_stream and ttft_s is None and self._may_be_late(outcome):
            health.timed_out(outcome.duration_s, uncached_tokens, now, in_flight)
        elif kind in ("failed", "timeout"):
            health.ended(False, now)
        elif kind == "outrun" and is_stream and ttft_s is None:
            # Were a lost race not learned, a slow target whose races are all lost would look well.
            health.kept_waiting(outcome.duration_s, uncached_tokens, now, in_flight)
        return slowness

    def _may_be_late(self, outcome: Outcome) -> bool:
        """Was it given up while it was silent, at a target of which it is known how long it takes?"""
        return outcome.duration_s >= _SILENCE_S and self.health.first_tokens >= _KNOWN_SAMPLES

    def _learn_speed(self, outcome: Outcome) -> None:
        streamed_s = outcome.duration_s - (outcome.ttft_s or 0.0)
        if outcome.kind == "ok" and streamed_s > 0 and outcome.output_tokens > 1:
            speed, kept = outcome.output_tokens / streamed_s, self.tokens_per_s
            self.tokens_per_s = speed if kept is None else kept + _SPEED_STEP * (speed - kept)


def _limit_of(capacity: Capacity) -> ConcurrencyLimit | None:
    wanted = capacity.concurrency
    return None if wanted is None else ConcurrencyLimit(None if wanted == "auto" else wanted)


class Fleet:
    """All targets of a world and what is known of them."""

    def __init__(self, breaker: BreakerSettings | None = None) -> None:
        self._breaker = breaker or BreakerSettings()
        self._states: dict[str, TargetState] = {}
        self._tell: Callable[[str], None] | None = None

    def __getitem__(self, name: str) -> TargetState:
        """The state of a target. Raises KeyError for one that never joined."""
        return self._states[name]

    def __contains__(self, name: str) -> bool:
        """Has it joined?"""
        return name in self._states

    def __iter__(self) -> Iterator[str]:
        """The names of all targets."""
        return iter(self._states)

    def watch(self, tell: Callable[[str], None]) -> None:
        """From now on `tell` the target's name whenever an attempt has ended: it may have room now."""
        self._tell = tell

    def ended(self, outcome: Outcome, now: float, is_stream: bool = True) -> None:
        """See `TargetState.ended`. Raises KeyError for a target that never joined."""
        self._states[outcome.target].ended(outcome, now, is_stream)
        if self._tell is not None:
            self._tell(outcome.target)

    def is_askable(self, names: Iterable[str], now: float) -> bool:
        """Would a call be sent to any of these targets now, if only in need? So too to one that never joined: who asks
        for it must find out.
        """
        obstacles = [self._obstacle(name, now) for name in names]
        return is_askable([None if obstacle is None else obstacle[0] for obstacle in obstacles])

    def wait_s(self, name: str, now: float) -> float:
        """Seconds until this target has room for an attempt of any size: 0 now, inf when one of its attempts has ended.
        An open breaker is nothing to wait for: whoever has no other target is sent there all the same, and who waits
        for another one beside it finds out.
        """
        obstacle = self._obstacle(name, now)
        if obstacle is None or obstacle[0] == BROKEN:
            return 0.0
        return inf if obstacle[1] is None else obstacle[1]

    def _obstacle(self, name: str, now: float) -> tuple[str, float | None] | None:
        state = self._states.get(name)
        return None if state is None else state.obstacle(0, now)

    def join(self, targets: Iterable[Target]) -> None:
        """Make sure that each has a state, and one that goes by its capacity as it is now."""
        for target in targets:
            state = self._states.get(target.name)
            if state is None:
                self._states[target.name] = TargetState(target.capacity, self._breaker)
            elif state.capacity != target.capacity:
                state.adapt(target.capacity)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all others: no world knows them any more."""
        wanted = set(names)
        self._states = {name: state for name, state in self._states.items() if name in wanted}
