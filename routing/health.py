"""How one target has fared lately: how soon it begins to answer, whether it answers, whether its streams hold.

The time to the first token is a size-normalised log-normal: a slow straight line over the uncached input (what this
target needs when it is well) times a fast ratio (how it is now). Full durations are no measure of health: fast errors
look like a quick server and long answers like a slow one. Everything fades with time, so that a target that is left
alone is believed to have recovered. Knows nothing of prices and limits.
"""

from __future__ import annotations

from math import erf, exp, log, sqrt
from typing import Final

#: Time constants of what is remembered, in seconds.
_RATIO_S: Final = 25.0
_SUCCESS_S: Final = 25.0
_RECORD_S: Final = 900.0
_CUT_S: Final = 120.0
#: The line forgets by samples: half of it is the last 140.
_LINE_KEPT: Final = 0.995
#: What the ratio is taken for before anything is known: as usual, within a factor of 1.5 two times in three.
_PRIOR_RATIOS: Final = 2.0
_PRIOR_SIGMA: Final = 0.4
_MIN_SIGMA: Final = 0.2
#: Attempts' worth of the long record in the recent one.
_PRIOR_ATTEMPTS: Final = 4.0
#: A target nobody has asked yet: a second and a half, and 0.1 s for a thousand tokens.
_GUESSED_BASE_S: Final = 0.8
_GUESSED_PER_KTOK_S: Final = 0.1
_PRIOR_LINE: Final = 1.0
#: Samples' worth of that guess, at a thousand tokens: one slow answer must not decide over a target.
_PRIOR_SAMPLES: Final = 3.0
_MIN_TTFT_S: Final = 0.005
#: A sample this many times over the line teaches the ratio, not the line.
_OUTLIER: Final = 2.5
_SQRT_2: Final = sqrt(2.0)


class Health:
    """One target's. Times are monotonic seconds."""

    __slots__ = (
        "_at",
        "_base_s",
        "_cut_at",
        "_cuts",
        "_failed",
        "_lasted",
        "_ok",
        "_per_ktok_s",
        "_ratio_at",
        "_ratio_squares",
        "_ratio_sum",
        "_ratio_weight",
        "_record_failed",
        "_record_ok",
        "_sx",
        "_sxx",
        "_sxy",
        "_sy",
        "_weight",
        "samples",
    )

    def __init__(self) -> None:
        self.samples = 0  #: first tokens seen so far
        self._base_s, self._per_ktok_s = _GUESSED_BASE_S, _GUESSED_PER_KTOK_S
        self._weight = self._sx = self._sxx = _PRIOR_SAMPLES
        self._sy = self._sxy = _PRIOR_SAMPLES * (_GUESSED_BASE_S + _GUESSED_PER_KTOK_S)
        self._ratio_at = self._ratio_weight = self._ratio_sum = self._ratio_squares = 0.0
        self._at = self._ok = self._failed = self._record_ok = self._record_failed = 0.0
        self._cut_at = self._cuts = self._lasted = 0.0

    def usual_ttft_s(self, uncached_tokens: int) -> float:
        """What this target needs to its first token when it is well."""
        return max(_MIN_TTFT_S, self._base_s + self._per_ktok_s * uncached_tokens * 0.001)

    def ratio(self, now: float) -> tuple[float, float]:
        """How it is now against its usual: mean and deviation of the logarithm of the ratio."""
        kept = exp((self._ratio_at - now) / _RATIO_S)
        weight = self._ratio_weight * kept + _PRIOR_RATIOS
        mean = self._ratio_sum * kept / weight
        square = (self._ratio_squares * kept + _PRIOR_RATIOS * _PRIOR_SIGMA * _PRIOR_SIGMA) / weight
        variance = square - mean * mean
        return mean, sqrt(variance) if variance > _MIN_SIGMA * _MIN_SIGMA else _MIN_SIGMA

    def p_ok(self, now: float) -> float:
        """That an attempt is answered at all: the last half minute, on the record of the last quarter of an hour."""
        ago = self._at - now
        record_kept = exp(ago / _RECORD_S)
        ok, failed = self._record_ok * record_kept, self._record_failed * record_kept
        record = (ok + 10.0) / (ok + failed + 10.05)
        kept = exp(ago / _SUCCESS_S)
        return (self._ok * kept + _PRIOR_ATTEMPTS * record) / ((self._ok + self._failed) * kept + _PRIOR_ATTEMPTS)

    def p_cut(self, now: float) -> float:
        """That a stream breaks after its first token."""
        kept = exp((self._cut_at - now) / _CUT_S)
        return (self._cuts * kept + 0.004) / ((self._cuts + self._lasted) * kept + 2.0)

    def began_to_answer(self, ttft_s: float, uncached_tokens: int, now: float) -> float:
        """Learn from a first token. Gives its slowness: how many times the usual it took."""
        usual_s = self.usual_ttft_s(uncached_tokens)
        ttft_s = max(ttft_s, _MIN_TTFT_S)
        slowness = ttft_s / usual_s
        self._learn_ratio(log(slowness), now)
        self._learn_line(uncached_tokens * 0.001, min(ttft_s, _OUTLIER * usual_s) if self.samples >= 10 else ttft_s)
        self.samples += 1
        return slowness

    def kept_waiting(self, waited_s: float, uncached_tokens: int, now: float) -> None:
        """Learn from a first token that had not come after this time: it would have taken longer still."""
        usual_s = self.usual_ttft_s(uncached_tokens)
        if waited_s > usual_s:
            self._learn_ratio(log(waited_s / usual_s), now)

    def ended(self, is_ok: bool, now: float) -> None:
        """Learn whether an attempt was answered."""
        ago = self._at - now
        kept, record_kept = exp(ago / _SUCCESS_S), exp(ago / _RECORD_S)
        self._at = now
        self._ok = self._ok * kept + is_ok
        self._failed = self._failed * kept + (not is_ok)
        self._record_ok = self._record_ok * record_kept + is_ok
        self._record_failed = self._record_failed * record_kept + (not is_ok)

    def streamed(self, is_cut: bool, now: float) -> None:
        """Learn whether a stream that had begun came to its end."""
        kept = exp((self._cut_at - now) / _CUT_S)
        self._cut_at = now
        self._cuts = self._cuts * kept + is_cut
        self._lasted = self._lasted * kept + (not is_cut)

    def _learn_ratio(self, logarithm: float, now: float) -> None:
        kept = exp((self._ratio_at - now) / _RATIO_S)
        self._ratio_at = now
        self._ratio_weight = self._ratio_weight * kept + 1.0
        self._ratio_sum = self._ratio_sum * kept + logarithm
        self._ratio_squares = self._ratio_squares * kept + logarithm * logarithm

    def _learn_line(self, ktok: float, ttft_s: float) -> None:
        """Least squares, forgetting by samples; the slope leans on the guess until sizes have differed."""
        self._weight = weight = self._weight * _LINE_KEPT + 1.0
        self._sx = sx = self._sx * _LINE_KEPT + ktok
        self._sy = sy = self._sy * _LINE_KEPT + ttft_s
        self._sxx = self._sxx * _LINE_KEPT + ktok * ktok
        self._sxy = self._sxy * _LINE_KEPT + ktok * ttft_s
        mean_x, mean_y = sx / weight, sy / weight
        spread = self._sxx - sx * mean_x + _PRIOR_LINE
        together = self._sxy - sx * mean_y + _PRIOR_LINE * _GUESSED_PER_KTOK_S
        self._per_ktok_s = slope = max(0.0, together / spread)
        self._base_s = mean_y - slope * mean_x


def p_within(limit_s: float, median_s: float, sigma: float) -> float:
    """That a log-normal time is at most this long; the limit is positive."""
    return 0.5 + 0.5 * erf(log(limit_s / median_s) / (sigma * _SQRT_2))
