"""One router tried on a scene, in figures; and whether another one does worse on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import Any

from routing.router import Group, Router
from routing.simulate.cloud import Cloud
from routing.simulate.driven import Driven
from routing.simulate.engine import Simulation
from routing.simulate.faults import Fault
from routing.simulate.oracle import foresee
from routing.simulate.profiles import Profile
from routing.simulate.records import CallRecord
from routing.simulate.report import Phase, Summary, summarize
from routing.simulate.routes import CallPolicy
from routing.simulate.trace import Request


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens to whoever is tried."""

    requests: Sequence[Request]
    phases: Sequence[Fault] = ()  #: faults for a while, each reported by itself
    seeds: Sequence[int] = (1,)  #: runs to average


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went, on average."""

    summary: Summary
    shares_pct: Mapping[str, float]  #: of all calls, by the target whose answer the client got; 0..100


@dataclass(frozen=True, slots=True)
class Change:
    """What another config makes of the same scene."""

    success_points: float  #: of percent; below 0 is worse
    objective_points: float
    cost_pct: float | None  #: above 0 is worse; None: there is no cost to compare with


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much worse another config may be."""

    success_points: float = 0.1
    objective_points: float = 1.0
    cost_pct: float = 10.0


def try_group(
    name: str,
    group: Group,
    profiles: Sequence[Profile],
    scene: Scene,
    policy: CallPolicy,
    standing: Sequence[Fault] = (),
) -> Trial:
    """The product's own router over these targets. `standing`: faults that are always there."""
    runs = []
    for seed in scene.seeds:
        cloud = Cloud(profiles, (*standing, *scene.phases), seed)
        routes = Driven(Router({name: group}))
        runs.append(Simulation(routes, cloud, policy, seed, name).run(scene.requests))
    return _trial(name, runs, scene, policy)


def try_oracle(profiles: Sequence[Profile], scene: Scene, policy: CallPolicy, standing: Sequence[Fault] = ()) -> Trial:
    """Who knows beforehand what each target would answer."""
    clouds = [Cloud(profiles, (*standing, *scene.phases), seed) for seed in scene.seeds]
    runs = [foresee(scene.requests, profiles, cloud, policy.objective_s) for cloud in clouds]
    return _trial("oracle", runs, scene, policy)


def _trial(name: str, runs: Sequence[Sequence[CallRecord]], scene: Scene, policy: CallPolicy) -> Trial:
    summaries = [summarize(name, run, scene.phases, policy.objective_s, policy.patience_s) for run in runs]
    answered = Counter(record.target for run in runs for record in run if record.target is not None)
    calls = sum(len(run) for run in runs)
    return Trial(mean(summaries), {target: 100 * count / calls for target, count in answered.items()})


def mean(runs: Sequence[Summary]) -> Summary:
    """The mean of several runs of the same scene; at least one."""
    changes = _means(runs)
    changes["phases"] = tuple(_mean_phase(same) for same in zip(*(run.phases for run in runs), strict=True))
    return replace(runs[0], **changes)


def _mean_phase(runs: Sequence[Phase]) -> Phase:
    return replace(runs[0], **_means(runs))


def _means(runs: Sequence[Summary] | Sequence[Phase]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for field in fields(runs[0]):
        values = [getattr(one, field.name) for one in runs]
        if isinstance(values[0], float):
            changes[field.name] = fmean(values)
        elif isinstance(values[0], int):
            changes[field.name] = round(fmean(values))
    return changes


def compare(new: Summary, old: Summary) -> Change:
    """What is different with the new one."""
    return Change(
        new.success_pct - old.success_pct,
        new.objective_pct - old.objective_pct,
        100 * (new.cost_usd / old.cost_usd - 1) if old.cost_usd else None,
    )


def objections(change: Change, tolerance: Tolerance) -> list[str]:
    """In what a change is worse than tolerated, as sentences; empty if it may be made."""
    found = []
    if change.success_points < -tolerance.success_points:
        found.append(f"success {change.success_points:+.2f} points (at most -{tolerance.success_points:g})")
    if change.objective_points < -tolerance.objective_points:
        found.append(f"objective {change.objective_points:+.2f} points (at most -{tolerance.objective_points:g})")
    if change.cost_pct is not None and change.cost_pct > tolerance.cost_pct:
        found.append(f"cost {change.cost_pct:+.1f} % (at most +{tolerance.cost_pct:g} %)")
    return found
