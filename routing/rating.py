"""What one target was found to be worth for one call: the figures that are known, and the one formula over them.

The scorer keeps the ratings of each plan, so that what other strategies would have chosen can be asked later
(`replay.py`). They are plain tuples: making one is all that remembering costs.
"""

from __future__ import annotations

from math import erf, exp, log, sqrt
from typing import Final

from routing.score import LATE, Preset
from routing.timing import p_within
from routing.types import Estimate, Rating, Stakes

#: The 95th percentile of a normal distribution, in deviations.
_P95: Final = 1.6449
#: A second of a whole answer's time counts so much of one before a first token: there are about ten times as many.
_WHOLE: Final = 0.1
_SQRT_2: Final = sqrt(2.0)
_LOG_LATE: Final = log(LATE)


def score(
    preset: Preset,
    is_stream: bool,
    stakes: Stakes,
    limit_s: float,
    cost_usd: float,
    p_ok: float,
    median_s: float,
    sigma: float,
    p_cut: float,
    used: float,
) -> float:
    """What choosing a target comes to under a preset, in dollars: less is better.

    `limit_s`: by when the first token is wanted, from now; the rest is what is known of the target: see `Rating`.
    """
    miss_usd, failure_usd, usual_usd = stakes
    # Scarce room goes to the calls that save most by it: a short one may as well be asked elsewhere.
    total = preset.cost * cost_usd + preset.room * usual_usd * used * used
    wait = preset.wait
    if not is_stream:  # no first token could be late, and no stream cut: it is answered, or it is not
        total += miss_usd * (preset.miss + preset.late) * (1.0 - p_ok)
        wait *= _WHOLE
    elif preset.has_objective:
        # As `p_within` of the objective, and of LATE times it.
        spare, spread = log(limit_s / median_s), sigma * _SQRT_2
        risk = preset.miss * (1.0 - p_ok * (0.5 + 0.5 * erf(spare / spread)))
        if preset.late:
            risk += preset.late * (1.0 - p_ok * (0.5 + 0.5 * erf((spare + _LOG_LATE) / spread)))
        total += miss_usd * (risk + preset.cut * p_cut)
    else:
        total += miss_usd * (preset.miss * (1.0 - p_ok) + preset.cut * p_cut)
    if failure_usd:
        total += failure_usd * (1.0 - (p_ok * (1.0 - p_cut) if is_stream else p_ok))
    if wait:
        total += wait * usual_usd * median_s * exp(0.5 * sigma * sigma)
    return total


def as_estimate(rating: Rating, limit_s: float, is_stream: bool) -> Estimate:
    """A rating as people read it; `limit_s` is what `p_miss` goes by."""
    worth, _, _, cost_usd, p_ok, median_s, sigma, p_cut, _, _ = rating
    return Estimate(
        cost_usd=cost_usd,
        p_ok=p_ok,
        p_miss=1.0 - (p_ok * p_within(limit_s, median_s, sigma) if is_stream else p_ok),
        p_cut=p_cut if is_stream else 0.0,
        ttft_p50_s=median_s,
        ttft_p95_s=median_s * exp(_P95 * sigma),
        score=worth,
    )
