"""How much later one target begins to answer the more it has in hand, learned from its own answers.

A hosted model on a crowded machine, and a server of one's own, slow down beyond a number of attempts in flight that
nobody tells. Whoever takes that slowness for a bad half minute comes back when it has passed, and crowds the target
again.
"""

from __future__ import annotations

from math import exp
from typing import Final

#: Steps of the curve: in flight from √2 to the power of the step on, so the last begins at 2,048.
_STEPS: Final = 24
_KEPT: Final = 0.99  # of each step, the last hundred answers count
_FADES_S: Final = 900.0
#: Drawn anew no sooner than after this, once a few answers are known: it takes longer than to learn from one.
_DRAWN_S: Final = 0.25
#: Answers' worth of the guess in each step: as the lighter steps, and as much steeper as they were.
_LEAN: Final = 5.0
#: This share of the answers, the least loaded, counts as unloaded.
_LIGHT: Final = 0.25
#: One answer says no more than a factor of e either way.
_MOST: Final = 1.0


class LoadCurve:
    """One target's. Never falls: more in hand is never sooner. O(steps in use) to learn, O(1) to read."""

    __slots__ = ("_at", "_logs", "_means", "_used", "_weights")

    def __init__(self) -> None:
        self._weights = [0.0] * _STEPS
        self._means = [0.0] * _STEPS
        self._logs = [0.0] * _STEPS
        self._used = 0
        self._at = 0.0

    def log_slowness(self, in_flight: int) -> float:
        """Of how many times the unloaded time it takes, the logarithm, ≥ 0; `in_flight` ≥ 1 counts itself too."""
        step = (in_flight * in_flight).bit_length() - 1
        return self._logs[step if step < _STEPS else -1]

    def learn(self, log_slowness: float, in_flight: int, now: float) -> None:
        """An answer that was sent as one of so many took so much longer than an unloaded one would have now."""
        step = min((in_flight * in_flight).bit_length(), _STEPS) - 1
        log_slowness = min(max(log_slowness, -_MOST), self._logs[step] + _MOST)
        weight = self._weights[step] * _KEPT + 1.0
        self._weights[step] = weight
        self._means[step] += (log_slowness - self._means[step]) / weight
        self._used = max(self._used, step)
        if now >= self._at + _DRAWN_S or weight < _LEAN:  # under load, once for many answers
            self._fade(exp((self._at - now) / _FADES_S))
            self._at = now
            self._draw()

    def _fade(self, kept: float) -> None:
        for step in range(self._used + 1):
            self._weights[step] *= kept

    def _draw(self) -> None:
        light = _LIGHT * sum(self._weights)
        weight_sum = log_sum = last = rise = 0.0
        for step in range(self._used + 1):
            weight = self._weights[step]
            if weight_sum < light:
                # What is usual is the line's business: only what is above the lightest quarter counts as load.
                weight_sum += weight
                log_sum += weight * self._means[step]
            else:
                guess = last + rise
                known = (weight * (self._means[step] - log_sum / weight_sum) + _LEAN * guess) / (weight + _LEAN)
                known = max(last, known)
                rise, last = known - last, known
            self._logs[step] = last
        for step in range(self._used + 1, _STEPS):
            self._logs[step] = last
