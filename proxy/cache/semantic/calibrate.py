"""Decides which hits are served, so that the share of wrong ones among them stays below what was promised.

Believed is only evidence: candidates that were judged. Of misses, the fresh answer is held against the cached one that
would have been served, which costs nothing; of hits a small share is audited. Thresholds form a ladder. For each step
there is an upper bound of the share of wrong ones at or above it; the loosest step whose bound is within `max_error` is
the threshold, and without one nothing is served. The shipped verifier says which step is looked at first, and gets the
larger part of the doubt.

The bounds hold at all times together, however long one looks: for independent candidates, the chance that a step is
ever served whose true error is above `max_error` is at most 1 - CONFIDENCE (Robbins' mixture of likelihood ratios, with
Ville's inequality; a Beta prior makes it a formula). Where the error changes later, a running test notices and all is
forgotten: nothing is served until there is new evidence. No clock, no chance.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final, NamedTuple

#: A threshold that no probability reaches: nothing is served.
NEVER: Final = 1.1
CONFIDENCE: Final = 0.95
#: Thresholds that are tried beside the one to start with.
LADDER: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)
#: The first step's part of the doubt; the others share the rest.
_FIRST_PART: Final = 0.5
#: The mixture's prior: as after 1 wrong one in 30.
_WRONG, _RIGHT = 1.0, 29.0
#: The running test: what it stakes, relative to 1 / max_error, and the gain at which it calls.
_STAKE: Final = 0.25
_CALL: Final = 100.0
#: Hits that are audited: a quarter when the first are served, fewer with the evidence, but always some.
_AUDITS: Final = 10.0
_LEAST_AUDITED: Final = 0.03
_SCHEMA: Final = 1


class Lesson(NamedTuple):
    """What one judgement is worth."""

    probability: float  #: that the candidate was thought to be right with
    is_same: bool  #: was it?
    weight: float  #: in audited hits
    staked: float  #: so much of what the running test stakes on a hit


class Calibrator:
    """One promise for one kind of calls. Not for several threads at once."""

    __slots__ = ("_count", "_drift", "_ladder", "_start", "_threshold", "_wrong", "max_error", "name")

    def __init__(self, max_error: float, start: float, name: str = "") -> None:
        """`max_error`: of served hits, above 0 and below 1. `start`: the verifier's own threshold for it, which is
        tried first, and counts for no evidence. `name`: what others know it by.
        """
        if not 0 < max_error < 1:
            raise ValueError(f"max_error must lie between 0 and 1, not be {max_error}.")
        self.max_error = max_error
        self.name = name
        self._start = start
        self._ladder = sorted({*LADDER, start} if start < 1 else LADDER)
        self._wrong = [0.0] * len(self._ladder)  # by band: from this step up to the next
        self._count = [0.0] * len(self._ladder)
        self._drift = 1.0
        self._threshold = self._find()

    @property
    def threshold(self) -> float:
        """The least probability that is served; NEVER while nothing is."""
        return self._threshold

    @property
    def least(self) -> float:
        """The least probability that may ever be served: what is below it need not be told."""
        return self._ladder[0]

    @property
    def bound(self) -> float:
        """An upper bound of the share of wrong ones among what is served, with CONFIDENCE. 1 without evidence; of the
        first step while nothing is served.
        """
        at = self._ladder.index(self._threshold) if self._threshold < NEVER else self._first()
        wrong, count = sum(self._wrong[at:]), sum(self._count[at:])
        low, high = min(1.0, wrong / count) if count else 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            if _evidence(wrong, count, middle) < self._needed(at):
                low = middle
            else:
                high = middle
        return high

    @property
    def judged_count(self) -> float:
        """The weight of all evidence, in audited hits."""
        return sum(self._count)

    def serves(self, probability: float) -> bool:
        """May a candidate with this probability of being right be served?"""
        return probability >= self._threshold

    def audits(self, draw: float) -> bool:
        """Is this hit to be audited? `draw`: uniform, 0 to 1."""
        return draw < self._audited_share()

    def weigh(self, probability: float, is_same: bool, *, is_served: bool = True) -> Lesson:
        """A candidate was judged: a miss whose fresh answer came, or an audited hit. What that is worth, to be taken.

        Every miss should be told; hits are audited for a share only, so beside them misses count for that share.
        `is_served`: else nothing is, so every candidate is told, and each counts alike.
        """
        is_hit = self.serves(probability)
        is_alike = is_hit or not is_served or self._threshold >= NEVER
        return Lesson(probability, is_same, 1.0 if is_alike else self._audited_share(), 1.0 if is_hit else 0.0)

    def weigh_complaint(self, probability: float) -> Lesson:
        """A user says that a hit was wrong. Nobody tells of those that were right but for the audited share, so it
        counts for that share as well: else a few complaints would outweigh thousands of good hits.
        """
        share = self._audited_share()
        return Lesson(probability, False, share, share if self.serves(probability) else 0.0)

    def judged(self, probability: float, is_same: bool, *, is_served: bool = True) -> None:
        """Take at once what `weigh` says."""
        self.take(self.weigh(probability, is_same, is_served=is_served))

    def complained(self, probability: float) -> None:
        """Take at once what `weigh_complaint` says."""
        self.take(self.weigh_complaint(probability))

    def take(self, lesson: Lesson) -> None:
        """Learn it. Whoever takes the same lessons in the same order has learned the same."""
        at = bisect_right(self._ladder, lesson.probability) - 1
        if at < 0:
            return
        self._count[at] += lesson.weight
        self._wrong[at] += 0.0 if lesson.is_same else lesson.weight
        if lesson.staked:
            stake = lesson.staked * _STAKE / self.max_error
            self._drift = max(1.0, self._drift) * (1 + stake * ((0.0 if lesson.is_same else 1.0) - self.max_error))
            if self._drift >= _CALL:
                self._forget()
        self._threshold = self._find()

    def snapshot(self) -> dict[str, object]:
        """All that was learned, as plain data."""
        return {
            "schema": _SCHEMA,
            "max_error": self.max_error,
            "ladder": list(self._ladder),
            "wrong": list(self._wrong),
            "count": list(self._count),
            "drift": self._drift,
        }

    def restore(self, data: Mapping[str, object]) -> bool:
        """Takes over a snapshot. False, and nothing changes, if it is damaged or of another promise or start."""
        steps = len(self._ladder)
        wrong, count = _weights(data.get("wrong"), steps), _weights(data.get("count"), steps)
        drift = _weights([data.get("drift")], 1)
        known = (data.get("schema"), data.get("max_error"), data.get("ladder"))
        if known != (_SCHEMA, self.max_error, self._ladder) or wrong is None or count is None or drift is None:
            return False
        if any(bad > every for bad, every in zip(wrong, count, strict=True)):
            return False
        self._wrong, self._count = wrong, count
        self._drift = drift[0]
        self._threshold = self._find()
        return True

    def _audited_share(self) -> float:
        return max(_LEAST_AUDITED, min(1.0, _AUDITS / (self.judged_count + 1)))

    def _first(self) -> int:
        return self._ladder.index(self._start) if self._start in self._ladder else len(self._ladder) - 1

    def _needed(self, at: int) -> float:
        """How strong the evidence must be, as a logarithm."""
        is_first = at == self._first()
        part = _FIRST_PART if is_first else (1 - _FIRST_PART) / (len(self._ladder) - 1)
        return -math.log((1 - CONFIDENCE) * part)

    def _find(self) -> float:
        """The loosest step that is proved."""
        found, wrong, count = NEVER, 0.0, 0.0
        for at in range(len(self._ladder) - 1, -1, -1):
            wrong, count = wrong + self._wrong[at], count + self._count[at]
            is_below = wrong + _WRONG <= self.max_error * (count + _WRONG + _RIGHT)
            if (is_below or not count) and _evidence(wrong, count, self.max_error) >= self._needed(at):
                found = self._ladder[at]
        return found

    def _forget(self) -> None:
        """The error has changed: nothing that was learned is worth anything."""
        self._wrong = [0.0] * len(self._ladder)
        self._count = [0.0] * len(self._ladder)
        self._drift = 1.0


def _evidence(wrong: float, count: float, share: float) -> float:
    """The logarithm of how much better a mixture of shares explains what was seen than `share` does."""
    if share >= 1:
        return math.inf
    right = count - wrong
    mixture = _log_beta(_WRONG + wrong, _RIGHT + right) - _log_beta(_WRONG, _RIGHT)
    return mixture - (wrong * math.log(share) if wrong else 0.0) - right * math.log1p(-share)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _weights(values: object, length: int) -> list[float] | None:
    """So many numbers from 0 on; None if it is anything else."""
    if not isinstance(values, list) or len(values) != length:
        return None
    if not all(type(value) in (int, float) and math.isfinite(value) and value >= 0 for value in values):
        return None
    return [float(value) for value in values]
