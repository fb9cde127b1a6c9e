"""What each strategy would have chosen for a call that was made, with all that was known then. Pure: it asks a kept
plan, no target, and nothing of today enters into it.
"""

from __future__ import annotations

from dataclasses import dataclass

from routing.rating import as_estimate, score
from routing.score import PRESETS, Preset, Promise
from routing.types import Basis, Estimate, Objective, Plan, Rating, Stakes


@dataclass(frozen=True, slots=True)
class Standing:
    """One target, as one strategy would have seen it."""

    target: str
    place: int  #: 1 would have been asked first
    estimate: Estimate
    margin_usd: float  #: by how much its score is above that of the first; of a stranger it may be below
    is_stranger: bool  #: nobody knew it yet: it comes after all others, whatever its score


@dataclass(frozen=True, slots=True)
class Alternative:
    """What one strategy would have made of the call."""

    strategy: str
    is_in_force: bool  #: the one that the plan was made under
    miss_usd: float  #: what missing the objective counts as
    standings: tuple[Standing, ...]  #: best first, at least one


def alternatives(plan: Plan) -> tuple[Alternative, ...]:
    """Each preset's order of the targets that the plan compared; empty if it compared none.

    By score alone: the plan itself leaves near equals to chance, and looks now and then at a target that nobody asked
    for long, so its own first may be another one. Where a preset's λ learns it is the plan's: nobody knows what another
    strategy would have learned. So are the chances of an answer: under `balanced` and `reliable` those given up before
    they began count as late, under the others as failed. O(n log n) for each preset.
    """
    basis = plan.basis
    if basis is None:
        return ()
    return tuple(_under(preset, basis, preset.name == plan.strategy) for preset in PRESETS.values())


def _under(preset: Preset, basis: Basis, is_in_force: bool) -> Alternative:
    miss_usd, failure_usd, usual_usd = basis.stakes
    if not preset.is_adaptive:
        miss_usd = Promise(preset, Objective(), usual_usd).price_usd  # this λ never moves
    stakes = miss_usd, failure_usd, usual_usd
    ratings = [_rescored(rating, preset, basis, stakes) for rating in basis.ratings]
    ratings.sort(key=lambda rating: (rating[-1], rating))
    best = ratings[0][0]
    standings = tuple(
        Standing(rating[2], place, as_estimate(rating, basis.limit_s, basis.is_stream), rating[0] - best, rating[-1])
        for place, rating in enumerate(ratings, 1)
    )
    return Alternative(preset.name, is_in_force, miss_usd, standings)


def _rescored(rating: Rating, preset: Preset, basis: Basis, stakes: Stakes) -> Rating:
    _, position, name, cost_usd, p_ok, median_s, sigma, p_cut, used, is_stranger = rating
    worth = score(preset, basis.is_stream, stakes, basis.limit_s, cost_usd, p_ok, median_s, sigma, p_cut, used)
    return worth, position, name, cost_usd, p_ok, median_s, sigma, p_cut, used, is_stranger
