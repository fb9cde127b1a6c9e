"""A provider's rate limits as a moving allowance: whether a target has room for a call, and if not, when. One pacer per
target. It foresees limits; what becomes of a target that fails is the breaker's part.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from routing.allowance import Allowance
from routing.tally import Tally
from routing.types import RateLimits
from routing.window import MovingSum

_MINUTE_S: Final = 60.0
_MAX_WAIT_S: Final = 3600.0
#: Tokens are estimates; requests are not.
_TOKEN_MARGIN: Final = 1.05
_SLOTS: Final = 12
#: Attempts remembered until an answer tells of them; 1,024 are 0.1 MB.
_MAX_SENT: Final = 1024
#: A 429 that names no time: doubled for each that follows, up to the second figure.
_REST_S: Final = 1.0
_MAX_REST_S: Final = 4.0


class Pacer:
    """Answers "is there room?" without asking the provider. Of two limits the smaller rules, always.

    The config's limits are token buckets of one minute's size. What a header says of the moment its request was sent
    is carried on: remaining + elapsed × limit ÷ 60 - what was sent since. Read as if said of now, it met half as many
    429s again (1,413 against 907 in 19,000 calls). News fades after 60 s. No call costs more than O(slots).
    """

    __slots__ = (
        "_assumed",
        "_blocked_until",
        "_due",
        "_heard",
        "_requests",
        "_rest_s",
        "_sent",
        "_sent_at",
        "_sent_requests",
        "_sent_tokens",
        "_tally",
        "_tokens",
    )

    def __init__(self, rpm: int | None, tpm: int | None, tally: Tally | None = None) -> None:
        """Requests and tokens a minute, as the config says; None (or 0): unknown until a header says. `tally`: see
        `share`.
        """
        self._requests = Allowance(rpm, 1.0, MovingSum(_MINUTE_S, _SLOTS))
        self._tokens = Allowance(tpm, _TOKEN_MARGIN, None)
        self._blocked_until = -inf
        self._rest_s = _REST_S  # after the next 429 that names no time
        self._sent: deque[tuple[float, int, int]] = deque()  # begun at, and all that was sent by then, itself included
        self._sent_requests = self._sent_tokens = 0
        self._heard = (0, 0)  # requests and tokens sent by `_sent_at`, that of the newest answer heard
        self._sent_at = -inf
        self._tally = tally
        self._assumed = self._due = (0.0, 0.0)  # requests and tokens of others: since the last turn, and before it

    @property
    def tally(self) -> Tally | None:
        """Where it is written for others; None: nobody is told."""
        return self._tally

    def share(self, tally: Tally) -> None:
        """From now on the limits are those of several gateways together, who tell each other what they send."""
        self._tally = tally

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
        if self._tally is not None:
            self._assume(self._tally, tokens, now)

    def ended(self, reserved_tokens: int, used_tokens: int | None, now: float) -> None:
        """An attempt begun with `reserved_tokens` used so many; None: unknown, the reservation stands."""
        if used_tokens is not None and used_tokens != reserved_tokens:
            self._tokens.correct(used_tokens - reserved_tokens, now)
            if self._tally is not None:
                self._tally.tokens += used_tokens - reserved_tokens

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
        if asked_s is None:
            if sent_at < self._blocked_until:
                return
            asked_s, self._rest_s = self._rest_s, min(2.0 * self._rest_s, _MAX_REST_S)
        self.blocked(asked_s, now)
        if self._tally is not None:
            self._tally.rest_until = max(self._tally.rest_until, now + asked_s)

    def accepted(self) -> None:
        """An attempt was not refused: the next rest is a short one."""
        self._rest_s = _REST_S

    def blocked(self, seconds: float, now: float) -> None:
        """A 429 asked to wait so long (the caller has jittered and capped it); extends, never shortens."""
        self._blocked_until = max(self._blocked_until, now + seconds)

    def heard(self, requests: float, tokens: float, rest_s: float, now: float) -> None:
        """What another gateway sent, and for how long its 429s ask to rest: the provider's account is the same one."""
        if requests:
            self._requests.correct(requests, now)
        if tokens:
            self._tokens.correct(tokens, now)
        if rest_s > 0:
            self.blocked(rest_s, now)

    def turn(self, now: float, *, are_others_heard: bool) -> None:
        """Once for each time that gateways tell each other. What was taken for others before the last turn is given
        back, since they have told of it by now; if they can't be heard it stays taken, which leaves each its share.
        """
        requests, tokens = self._due
        self._due, self._assumed = self._assumed, (0.0, 0.0)
        if are_others_heard:
            self._requests.correct(-requests, now)
            self._tokens.correct(-tokens, now)

    def _assume(self, tally: Tally, tokens: int, now: float) -> None:
        """Until they tell, each of the others is taken to send as much as this one: two that are both well rested would
        else send twice the limit before either knows.
        """
        tally.requests += 1
        tally.tokens += tokens
        if tally.others:
            assumed_requests, assumed_tokens = self._assumed
            assumed_requests += self._requests.assume(tally.others, now)
            assumed_tokens += self._tokens.assume(tally.others * tokens, now)
            self._assumed = assumed_requests, assumed_tokens

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
