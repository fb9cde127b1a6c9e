"""How long one thing takes at one target, learned as a size-normalised log-normal: a slow straight line over a size
(what the target needs when it is well) times a fast ratio (how it is now). What the size is, and which thing, is the
owner's business; `health.py` keeps one for first tokens and one for whole answers.
"""

from __future__ import annotations

from math import erf, erfc, exp, log, pi, sqrt
from typing import Final

from routing.tally import Ratios

#: The ratio forgets by time (a constant in seconds), and by samples: where many come, twenty are enough.
_RATIO_S: Final = 25.0
_RATIO_KEPT: Final = 0.95
#: The line forgets by samples: half of it is the last 140.
_LINE_KEPT: Final = 0.995
#: What the ratio is taken for before anything is known: as usual, within a factor of 1.5 two times in three.
_PRIOR_RATIOS: Final = 2.0
_PRIOR_SIGMA: Final = 0.4
_MIN_SIGMA: Final = 0.2
#: Samples' worth of the guessed line, at size 1: one slow answer must not decide over a target.
_PRIOR_SAMPLES: Final = 3.0
_PRIOR_LINE: Final = 1.0
_MIN_S: Final = 0.005
#: What was heard so long ago is half a guess by now; and a ratio (its logarithm) that is no usual one.
_STALE_S: Final = 10.0
_SLOW: Final = 0.3
#: A sample this many times over the line teaches the ratio, not the line; so many are needed for a line to go by.
_OUTLIER: Final = 2.5
_LINE_SAMPLES: Final = 10
_MOST_SURPRISE: Final = log(_OUTLIER)
#: Samples' worth of the belief that times do not scatter at all, until it is known how they do.
_PRIOR_SPREAD: Final = 10.0
#: So many deviations out, what lies beyond is told by a series: the ratio of two numbers near 0 is not.
_FAR: Final = 6.0
_SQRT_2: Final = sqrt(2.0)
_SQRT_2_PI: Final = sqrt(2.0 * pi)


class Timing:
    """One thing's. `now` is monotonic seconds; sizes are in units whose usual value is about 1.

    Least squares find the mean, and the mean of a log-normal is exp(σ²/2) times its median: by 6 % at a deviation of a
    third, by 13 % at a half. Where answers come often the ratio makes up for that; a target that is asked once a minute
    would always look slower than it is. So the line is brought down to the median, by how much times have scattered.
    """

    __slots__ = (
        "_base_s",
        "_guessed_slope_s",
        "_median",
        "_ratio_at",
        "_ratio_squares",
        "_ratio_sum",
        "_ratio_weight",
        "_slope_s",
        "_spread",
        "_spread_weight",
        "_sx",
        "_sxx",
        "_sxy",
        "_sy",
        "_weight",
        "samples",
        "tally",
    )

    def __init__(self, base_s: float, slope_s: float) -> None:
        """What to expect of a target that nobody has asked yet: `base_s`, and `slope_s` for each unit of size."""
        self.samples = 0  #: times seen so far
        self.tally: Ratios | None = None  #: where it is written for other gateways; None: nobody is told
        self._base_s, self._slope_s = base_s, slope_s
        self._guessed_slope_s = slope_s
        self._weight = self._sx = self._sxx = _PRIOR_SAMPLES
        self._sy = self._sxy = _PRIOR_SAMPLES * (base_s + slope_s)
        self._spread, self._spread_weight = 0.0, _PRIOR_SPREAD  # squares of what the ratio did not foresee
        self._median = 1.0  # of what the line's mean is
        self._ratio_at = self._ratio_weight = self._ratio_sum = self._ratio_squares = 0.0

    def usual_s(self, size: float) -> float:
        """What the target needs when it is well."""
        usual_s = self._base_s + self._slope_s * size
        return usual_s if usual_s > _MIN_S else _MIN_S

    def ratio(self, now: float) -> tuple[float, float]:
        """How it is now against its usual: mean and deviation of the logarithm of the ratio."""
        kept = exp((self._ratio_at - now) / _RATIO_S)
        weight = self._ratio_weight * kept + _PRIOR_RATIOS
        mean = self._ratio_sum * kept / weight
        square = (self._ratio_squares * kept + _PRIOR_RATIOS * _PRIOR_SIGMA * _PRIOR_SIGMA) / weight
        variance = square - mean * mean
        return mean, sqrt(variance) if variance > _MIN_SIGMA * _MIN_SIGMA else _MIN_SIGMA

    def was_slow(self, now: float) -> bool:
        """Was it much slower than usual when last heard of, some time ago? Then that it is well again is a guess."""
        if now - self._ratio_at < _STALE_S:
            return False
        return self._ratio_sum > _SLOW * (self._ratio_weight + _PRIOR_RATIOS)

    def took(self, time_s: float, size: float, now: float) -> float:
        """Learn from one. Gives its slowness: how many times the usual it took."""
        usual_s = self.usual_s(size)
        time_s = max(time_s, _MIN_S)
        slowness = time_s / usual_s
        logarithm = log(slowness)
        most_s = _OUTLIER * usual_s / self._median
        self._learn_spread(logarithm - self.ratio(now)[0])
        self._learn_ratio(logarithm, logarithm * logarithm, now)
        self._learn_line(size, min(time_s, most_s) if self.samples >= _LINE_SAMPLES else time_s)
        self.samples += 1
        return slowness

    def outlasted(self, waited_s: float, size: float, now: float) -> None:
        """Learn from one that was not there after this time: it would have taken longer still, how much longer is
        reckoned from what is known. Were the time itself learned, a long prompt given up at a target that is slow would
        make it look faster.
        """
        usual_s = self.usual_s(size)
        if waited_s <= usual_s:
            return
        mean, sigma = self.ratio(now)
        waited = (log(waited_s / usual_s) - mean) / sigma
        beyond = _mean_beyond(waited)
        square = mean * mean + sigma * (2.0 * mean * beyond + sigma * (1.0 + waited * beyond))
        self._learn_ratio(mean + sigma * beyond, square, now)

    def heard(self, count: float, total: float, squares: float, now: float) -> None:
        """Learn from so many ratios that others saw, each against its own usual: the sum of their logarithms and that
        of the squares. They count as if they had come one by one; the line stays.
        """
        kept = _RATIO_KEPT**count
        weight = (1.0 - kept) / (1.0 - _RATIO_KEPT)
        kept *= exp((self._ratio_at - now) / _RATIO_S)
        self._ratio_at = now
        self._ratio_weight = self._ratio_weight * kept + weight
        self._ratio_sum = self._ratio_sum * kept + weight * total / count
        self._ratio_squares = self._ratio_squares * kept + weight * squares / count

    def _learn_ratio(self, logarithm: float, square: float, now: float) -> None:
        if self.tally is not None:
            self.tally.add(logarithm, square)
        kept = _RATIO_KEPT * exp((self._ratio_at - now) / _RATIO_S)
        self._ratio_at = now
        self._ratio_weight = self._ratio_weight * kept + 1.0
        self._ratio_sum = self._ratio_sum * kept + logarithm
        self._ratio_squares = self._ratio_squares * kept + square

    def _learn_spread(self, surprise: float) -> None:
        """How much times scatter around what the ratio said, in the long run; forgets as the line does."""
        surprise = min(max(surprise, -_MOST_SURPRISE), _MOST_SURPRISE)
        self._spread = self._spread * _LINE_KEPT + surprise * surprise
        self._spread_weight = self._spread_weight * _LINE_KEPT + 1.0
        self._median = exp(-0.5 * self._spread / self._spread_weight)

    def _learn_line(self, size: float, time_s: float) -> None:
        """Least squares, forgetting by samples; the slope leans on the guess until sizes have differed."""
        self._weight = weight = self._weight * _LINE_KEPT + 1.0
        self._sx = sx = self._sx * _LINE_KEPT + size
        self._sy = sy = self._sy * _LINE_KEPT + time_s
        self._sxx = self._sxx * _LINE_KEPT + size * size
        self._sxy = self._sxy * _LINE_KEPT + size * time_s
        mean_x, mean_y = sx / weight, sy / weight
        spread = self._sxx - sx * mean_x + _PRIOR_LINE
        together = self._sxy - sx * mean_y + _PRIOR_LINE * self._guessed_slope_s
        slope = max(0.0, together / spread)
        self._slope_s = slope * self._median
        self._base_s = (mean_y - slope * mean_x) * self._median


def p_within(limit_s: float, median_s: float, sigma: float) -> float:
    """That a log-normal time is at most this long; the limit is positive."""
    return 0.5 + 0.5 * erf(log(limit_s / median_s) / (sigma * _SQRT_2))


def _mean_beyond(deviations: float) -> float:
    """The mean of what a standard normal distribution gives beyond so many deviations (the inverse Mills ratio)."""
    if deviations > _FAR:
        return deviations + 1.0 / deviations
    return exp(-0.5 * deviations * deviations) / _SQRT_2_PI / (0.5 * erfc(deviations / _SQRT_2))
