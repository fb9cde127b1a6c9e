"""What may be sent of one thing, requests or tokens, to one target: by the config's limit and by what headers said."""

from __future__ import annotations

from math import inf
from typing import Final

from routing.window import MovingSum

_MINUTE_S: Final = 60.0
#: What headers said counts for so long.
_NEWS_S: Final = 60.0
#: A full bucket and a minute's refill would be twice the limit within a minute, which a provider that counts by
#: windows refuses: no more requests than this share of a limit go out in any 60 s. Not so for tokens: two calls of
#: 0.6 of the limit each would then be a minute apart, where the provider takes the second after 12 s.
_MAX_SHARE: Final = 1.1
#: A limit that takes longer to come back than this is not one of a minute, though its header does not say so.
_LONG_RESET_S: Final = 66.0
#: Far below one token, far above what sums of floats lose.
_ROUNDING: Final = 1e-6


class Bucket:
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


class Allowance:
    """Requests, or tokens: what the config allows, what headers said, and (requests) what went out in a minute."""

    __slots__ = ("_heard_at", "_last_minute", "_margin", "_own", "_told", "spare")

    def __init__(self, limit: int | None, margin: float, last_minute: MovingSum | None) -> None:
        """`limit` a minute, as the config says; None: unknown. `margin`: what amounts are multiplied by, because they
        are estimates. `last_minute`: where what goes out is counted, if that is bounded too.
        """
        self._own = Bucket(limit) if limit is not None and limit > 0 else None
        self._told: Bucket | None = None
        self._heard_at = -inf
        self._margin = margin
        self._last_minute = last_minute
        self.spare = 1.0  #: the headroom when last asked to wait

    def wait_s(self, amount: int, now: float) -> float:
        """Seconds until so much may go out; inf: never."""
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
        """What is left, as a share of the limit."""
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
        """So much goes out now."""
        self.correct(amount, now)
        if self._told is not None:
            self._told.take(amount, now)

    def assume(self, amount: float, now: float) -> float:
        """Take so much for others who have not told yet, as far as the debt may grow; how much that was."""
        own = self._own
        taken = 0.0 if own is None else min(amount, own.level(now) + own.limit)
        if taken <= 0:
            return 0.0
        self.correct(taken, now)
        return taken

    def correct(self, amount: float, now: float) -> None:
        """Take late, or give back. Not from what headers said: the provider keeps that account, by rules of its own."""
        if self._last_minute is not None:
            self._last_minute.add(amount, now)
        if self._own is not None:
            self._own.take(amount, now)

    def told(
        self, limit: int | None, remaining: int | None, since: int, reset_s: float | None, sent_at: float, now: float
    ) -> None:
        """What headers said: `remaining` was left at `sent_at`; `since`: what was sent after that."""
        old = self._told if now < self._heard_at + _NEWS_S else None
        known = old or self._own
        if limit is None and remaining is not None and known is not None:
            limit = known.limit
        if limit is None:
            return
        new = Bucket(limit)
        if remaining is not None:
            new.set(min(remaining, limit) - since, sent_at)
            if reset_s is not None and reset_s > _LONG_RESET_S and remaining < limit:
                new.per_s = min(new.per_s, (limit - remaining) / reset_s)
        elif old is not None:
            new.set(min(old.level(now), limit), now)
        self._told = new
        self._heard_at = now

    def _wait_for(self, bucket: Bucket, amount: int, now: float) -> float:
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
