"""A provider's rate limits as a moving allowance: whether a target has room for a call, and if not, when. One pacer per
target. It foresees limits; what becomes of a target that fails is the breaker's part.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from routing.types import RateLimits
from routing.window import MovingSum

_MINUTE_S: Final = 60.0
_MAX_WAIT_S: Final = 3600.0
#: What headers said counts for so long.
_NEWS_S: Final = 60.0
#: Tokens are estimates; requests are not.
_TOKEN_MARGIN: Final = 1.05
#: A full bucket and a minute's refill would be twice the limit within a minute, which a provider that counts by
#: windows refuses: no more requests than this share of a limit go out in any 60 s. Not so for tokens: two calls of
#: 0.6 of the limit each would then be a minute apart, where the provider takes the second after 12 s.
_MAX_SHARE: Final = 1.1
_SLOTS: Final = 12
#: A limit that takes longer to come back than this is not one of a minute, though its header does not say so.
_LONG_RESET_S: Final = 66.0
#: Attempts remembered until an answer tells of them; 1,024 are 0.1 MB.
_MAX_SENT: Final = 1024
#: Far below one token, far above what sums of floats lose.
_ROUNDING: Final = 1e-6
#: A 429 that names no time: doubled for each that follows, up to the second figure.
_REST_S: Final = 1.0
_MAX_REST_S: Final = 4.0


class _Bucket:
    """A token bucket of the size of its limit; it may run into debt, up to its size."""

    __slots__ = ("at", "left", "limit", "per_s")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.per_s = limit / _MINUTE_S
        self.left = float(limit)
        self.at = -inf

    def set(self, level: float, at: float) -> None:
        self.left = max(-self.limit, level)
        self.at = at

    def level(self, now: float) -> float:
        if now <= self.at:
            return self.left
        level = self.left + (now - self.at) * self.per_s
        return level if level < self.limit else self.limit

    def share(self, now: float) -> float:
        if now <= self.at:
            return self.left / self.limit
        share = (self.left + (now - self.at) * self.per_s) / self.limit
        return share if share < 1.0 else 1.0

    def take(self, amount: float, now: float) -> None:
        self.set(self.level(now) - amount, now)


class _Allowance:
    """Requests, or tokens: what the config allows, what headers said, and (requests) what went out in a minute."""

    __slots__ = ("_heard_at", "_last_minute", "_margin", "_own", "_told", "spare")

    def __init__(self, limit: int | None, margin: float, last_minute: MovingSum | None) -> None:
        self._own = _Bucket(limit) if limit is not None and limit > 0 else None
        self._told: _Bucket | None = None
        self._heard_at = -inf
        self._margin = margin
        self._last_minute = last_minute
        self.spare = 1.0  #: the headroom when last asked to wait

    def wait_s(self, amount: int, now: float) -> float:
        self.spare, own = 1.0, self._own
        wait_s = 0.0
        if own is not None:
            if self._last_minute is None and now > own.at and amount * self._margin <= own.limit:
                # As `_wait_for`, without its calls: this is asked for every target of every plan.
                level = own.left + (now - own.at) * own.per_s
                if level < own.limit:
                    self.spare = level / own.limit
                    lacking = amount * self._margin - level - _ROUNDING
                    wait_s = lacking / own.per_s if lacking > 0 else 0.0
            else:
                wait_s = self._wait_for(own, amount, now)
        if self._told is not None:
            news_s = self._heard_at + _NEWS_S - now
            wait_s = max(wait_s, min(news_s, self._wait_for(self._told, amount, now)))
        return wait_s

    def headroom(self, now: float) -> float:
        own, told, last_minute, share = self._own, self._told, self._last_minute, 1.0
        if own is not None:
            share = own.share(now)
        if told is not None and now < self._heard_at + _NEWS_S:
            share = min(share, told.share(now))
            own = told if own is None or told.limit < own.limit else own
        if last_minute is not None and own is not None:
            share = min(share, _MAX_SHARE - last_minute.total(now) / own.limit)
        return share if share > 0.0 else 0.0

    def take(self, amount: int, now: float) -> None:
        self.correct(amount, now)
        if self._told is not None:
            self._told.take(amount, now)

    def correct(self, amount: int, now: float) -> None:
        """Take late, or give back. Not from what headers said: the provider keeps that account, by rules of its own."""
        if self._last_minute is not None:
            self._last_minute.add(amount, now)
        if self._own is not None:
            self._own.take(amount, now)

    def told(
        self, limit: int | None, remaining: int | None, since: int, reset_s: float | None, sent_at: float, now: float
    ) -> None:
        """`remaining` was left at `sent_at`; `since`: what was sent after that."""
        old = self._told if now < self._heard_at + _NEWS_S else None
        known = old or self._own
        if limit is None and remaining is not None and known is not None:
            limit = known.limit
        if limit is None:
            return
        new = _Bucket(limit)
        if remaining is not None:
            new.set(min(remaining, limit) - since, sent_at)
            if reset_s is not None and reset_s > _LONG_RESET_S and remaining < limit:
                new.per_s = min(new.per_s, (limit - remaining) / reset_s)
        elif old is not None:
            new.set(min(old.level(now), limit), now)
        self._told = new
        self._heard_at = now

    def _wait_for(self, bucket: _Bucket, amount: int, now: float) -> float:
        limit = bucket.limit
        if amount > limit:
            return inf
        # With its margin an amount just below the limit would never fit.
        need = amount * self._margin
        level = bucket.level(now)
        spare = level / limit
        lacking = (need if need < limit else limit) - level - _ROUNDING
        wait_s = lacking / bucket.per_s if lacking > 0 else 0.0
        if self._last_minute is None:
            if spare < self.spare:
                self.spare = spare
            return wait_s
        sent = self._last_minute.total(now)
        self.spare = min(self.spare, spare, _MAX_SHARE - sent / limit)
        excess = sent + amount - _MAX_SHARE * limit - _ROUNDING
        return wait_s if excess <= 0 else max(wait_s, self._last_minute.wait_s(excess, now))


class Pacer:
    """Answers "is there room?" without asking the provider. Of two limits the smaller rules, always.

    The config's limits are token buckets of one minute's size. What a header says of the moment its request was sent
    is carried on: remaining + elapsed × limit ÷ 60 - what was sent since. Read as if said of now, it met half as many
    429s again (1,413 against 907 in 19,000 calls). News fades after 60 s. No call costs more than O(slots).
    """

    __slots__ = (
        "_blocked_until",
        "_heard",
        "_requests",
        "_rest_s",
        "_sent",
        "_sent_at",
        "_sent_requests",
        "_sent_tokens",
        "_tokens",
    )

    def __init__(self, rpm: int | None, tpm: int | None) -> None:
        """Requests and tokens a minute, as the config says; None (or 0): unknown until a header says."""
        self._requests = _Allowance(rpm, 1.0, MovingSum(_MINUTE_S, _SLOTS))
        self._tokens = _Allowance(tpm, _TOKEN_MARGIN, None)
        self._blocked_until = -inf
        self._rest_s = _REST_S  # after the next 429 that names no time
        self._sent: deque[tuple[float, int, int]] = deque()  # begun at, and all that was sent by then, itself included
        self._sent_requests = self._sent_tokens = 0
        self._heard = (0, 0)  # requests and tokens sent by `_sent_at`, that of the newest answer heard
        self._sent_at = -inf

    def wait_s(self, tokens: int, now: float) -> float:
        """Seconds until a call of so many tokens (input and expected output) may be sent, if nothing else is sent.

        0: now. At most 3600; inf: never, it is larger than the config's limit.
        """
        requests_s, tokens_s = self._requests.wait_s(1, now), self._tokens.wait_s(tokens, now)
        if requests_s <= 0 and tokens_s <= 0 and self._blocked_until <= now:
            return 0.0
        wait_s = max(requests_s, tokens_s, self._blocked_until - now)
        return wait_s if wait_s == inf else min(wait_s, _MAX_WAIT_S)

    def is_blocked(self, now: float) -> bool:
        """Is the last 429 still to be waited out? That was said by the provider; the rest of a wait is reckoned."""
        return now < self._blocked_until

    @property
    def spare(self) -> float:
        """`headroom` without reckoning again: when `wait_s` was last asked, and there was room."""
        requests, tokens = self._requests.spare, self._tokens.spare
        spare = requests if requests < tokens else tokens
        return spare if spare > 0.0 else 0.0

    def headroom(self, now: float) -> float:
        """What is left, 0..1: the scarcer of requests and tokens as a share of its limit. 1.0 if no limit is known."""
        if now < self._blocked_until:
            return 0.0
        requests, tokens = self._requests.headroom(now), self._tokens.headroom(now)
        return requests if requests < tokens else tokens

    def began(self, tokens: int, now: float) -> None:
        """An attempt was sent, with room or without; `now` is what `RateLimits.sent_at` will say of it."""
        self._requests.take(1, now)
        self._tokens.take(tokens, now)
        self._sent_requests += 1
        self._sent_tokens += tokens
        if len(self._sent) >= _MAX_SENT:
            self._heard = self._sent.popleft()[1:]
        self._sent.append((now, self._sent_requests, self._sent_tokens))

    def ended(self, reserved_tokens: int, used_tokens: int | None, now: float) -> None:
        """An attempt begun with `reserved_tokens` used so many; None: unknown, the reservation stands."""
        if used_tokens is not None and used_tokens != reserved_tokens:
            self._tokens.correct(used_tokens - reserved_tokens, now)

    def told(self, limits: RateLimits, now: float) -> None:
        """Headers of an answer. A limit of 0 or less (Azure says -1) makes its remainder unknown too. An answer to an
        attempt sent before that of the newest answer heard is passed over.
        """
        sent_at = min(limits.sent_at, now)
        if sent_at < self._sent_at:
            return
        limit_requests, left_requests = _known(limits.limit_requests, limits.remaining_requests)
        limit_tokens, left_tokens = _known(limits.limit_tokens, limits.remaining_tokens)
        if limit_requests is left_requests is limit_tokens is left_tokens is None:
            return
        self._sent_at = sent_at
        self._forget_until(sent_at)
        since = self._sent_requests - self._heard[0]
        self._requests.told(limit_requests, left_requests, since, limits.reset_requests_s, sent_at, now)
        since = self._sent_tokens - self._heard[1]
        self._tokens.told(limit_tokens, left_tokens, since, limits.reset_tokens_s, sent_at, now)

    def refused(self, asked_s: float | None, sent_at: float, now: float) -> None:
        """An attempt was answered with 429; `asked_s`: how long to wait, if the provider said so. If it did not, each
        rest is longer than the one before; but what had been sent before the last one was over says nothing new.
        """
        if asked_s is not None:
            self.blocked(asked_s, now)
        elif sent_at >= self._blocked_until:
            self.blocked(self._rest_s, now)
            self._rest_s = min(2.0 * self._rest_s, _MAX_REST_S)

    def accepted(self) -> None:
        """An attempt was not refused: the next rest is a short one."""
        self._rest_s = _REST_S

    def blocked(self, seconds: float, now: float) -> None:
        """A 429 asked to wait so long (the caller has jittered and capped it); extends, never shortens."""
        self._blocked_until = max(self._blocked_until, now + seconds)

    def _forget_until(self, sent_at: float) -> None:
        sent = self._sent
        while sent and sent[0][0] < sent_at:
            self._heard = sent.popleft()[1:]
        # Of attempts begun at one moment each answer takes one: the provider has counted them one after the other too.
        if sent and sent[0][0] == sent_at:
            self._heard = sent.popleft()[1:]


def _known(limit: int | None, remaining: int | None) -> tuple[int | None, int | None]:
    """What is to be believed of a limit and its remainder."""
    if limit is not None and limit <= 0:
        return None, None
    return limit, remaining if remaining is not None and remaining >= 0 else None
