"""What `simulate` prints: tables for people, plain data for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

from proxy.cli.columns import columns
from proxy.cli.rehearsal import ModelTrial
from routing.simulate import Summary
from routing.simulate.report import Phase, percent
from routing.simulate.trial import Change, Trial

_NONE: Final = "–"
#: Each line of the table of figures: its name, and what it says.
_FIGURES: Final[tuple[tuple[str, Callable[[Summary], str]], ...]] = (
    ("success %", lambda one: percent(one.success_pct, 2)),
    ("within objective %", lambda one: percent(one.objective_pct, 2)),
    ("TTFT p50 s", lambda one: f"{one.ttft_p50_s:.2f}"),
    ("TTFT p95 s", lambda one: f"{one.ttft_p95_s:.2f}"),
    ("TTFT p99 s", lambda one: f"{one.ttft_p99_s:.2f}"),
    ("cost $", lambda one: f"{one.cost_usd:.4f}"),
    ("wasted tokens %", lambda one: f"{one.waste_pct:.2f}"),
    ("worst minute success %", lambda one: percent(one.worst_success_pct, 1)),
    ("worst minute within objective %", lambda one: percent(one.worst_objective_pct, 1)),
    ("429s", lambda one: str(one.rate_limited)),
    ("attempts", lambda one: str(one.attempts)),
)


def as_json(trials: Sequence[ModelTrial]) -> dict[str, object]:
    """The report for programs."""
    return {"ok": not any(trial.objections for trial in trials), "models": [_describe(trial) for trial in trials]}


def _describe(trial: ModelTrial) -> dict[str, object]:
    return {
        "model": trial.name,
        "strategy": trial.side.group.strategy,
        "objective_ttft_s": trial.side.group.objective.ttft_s,
        "targets": [
            {
                "target": target.name,
                "price_usd_per_mtok": None if target.price is None else asdict(target.price),
                "latency": asdict(trial.side.known[target.name]),
            }
            for target in trial.side.group.targets
        ],
        "new": _describe_side(trial.new),
        "old": None if trial.old is None else _describe_side(trial.old),
        "oracle": _describe_side(trial.oracle),
        "change": None if trial.change is None else asdict(trial.change),
        "objections": list(trial.objections),
        "notes": list(trial.notes),
    }


def _describe_side(trial: Trial) -> dict[str, object]:
    figures = {name: value for name, value in asdict(trial.summary).items() if name not in ("name", "hedges")}
    return {**figures, "shares_pct": dict(trial.shares_pct)}


def render(trials: Sequence[ModelTrial], trace: str, dropped: Sequence[str]) -> str:
    """The report for people. `dropped`: models that only the old config has."""
    blocks = [_render(trial, trace) for trial in trials]
    if dropped:
        blocks.append(f"only the old config has these models, so their callers will be refused: {', '.join(dropped)}")
    return "\n\n".join(blocks)


def _render(trial: ModelTrial, trace: str) -> str:
    group = trial.side.group
    head = f"model {trial.name}, {group.strategy}, first token within {group.objective.ttft_s:g} s; {trace}"
    lines = [head, "", *_targets(trial), "", *_figures(trial)]
    if trial.new.summary.phases:
        lines += ["", *_phases(trial)]
    lines += ["", *(f"note: {note}" for note in trial.notes)] if trial.notes else []
    if trial.change is not None:
        lines += ["", f"this edit: {_sum_up(trial.change)}"]
    lines += [f"worse than tolerated: {objection}" for objection in trial.objections]
    return "\n".join(lines)


def _targets(trial: ModelTrial) -> list[str]:
    rows: list[Sequence[str]] = [
        ("target", "latency", "TTFT s", "+ s/1k tokens", "tokens/s", "$/M in/out", "rpm", "tpm")
    ]
    for target in trial.side.group.targets:
        latency, price, capacity = trial.side.known[target.name], target.price, target.capacity
        rows.append(
            (
                target.name,
                latency.source,
                f"{latency.base_s:.2f}",
                f"{latency.per_ktok_s:.2f}",
                f"{latency.tokens_per_s:.0f}",
                _NONE if price is None else f"{price.input:g}/{price.output:g}",
                *(_NONE if limit is None else f"{limit:,}" for limit in (capacity.rpm, capacity.tpm)),
            )
        )
    return columns(rows)


def _sides(trial: ModelTrial) -> list[tuple[str, Trial]]:
    sides = [("new", trial.new)]
    if trial.old is not None:
        sides.append(("old", trial.old))
    return [*sides, ("oracle", trial.oracle)]


def _figures(trial: ModelTrial) -> list[str]:
    sides = _sides(trial)
    rows: list[Sequence[str]] = [("", *(name for name, _ in sides))]
    for label, figure in _FIGURES:
        rows.append((label, *(figure(side.summary) for _, side in sides)))
    if trial.oracle.summary.cost_usd:
        ratios = (f"{side.summary.cost_usd / trial.oracle.summary.cost_usd:.2f}" for _, side in sides)
        rows.append(("cost / oracle", *ratios))
    names = dict.fromkeys(name for _, side in sides for name in side.shares_pct)
    rows += [
        (f"answered by {name} %", *(f"{side.shares_pct.get(name, 0.0):.1f}" for _, side in sides))
        for name in sorted(names, key=lambda name: -trial.new.shares_pct.get(name, 0.0))
    ]
    return columns(rows)


def _phases(trial: ModelTrial) -> list[str]:
    sides = _sides(trial)
    rows: list[Sequence[str]] = [("while (success / within objective %, $)", *(name for name, _ in sides))]
    for number, phase in enumerate(trial.new.summary.phases):
        rows.append((phase.name, *(_phase(side.summary.phases[number]) for _, side in sides)))
    return columns(rows)


def _phase(phase: Phase) -> str:
    if phase.success_pct is None or phase.objective_pct is None:
        return _NONE
    return f"{percent(phase.success_pct, 2)} / {percent(phase.objective_pct, 1)}, {phase.cost_usd:.3f}"


def _sum_up(change: Change) -> str:
    cost = "cost unknown" if change.cost_pct is None else f"cost {change.cost_pct:+.1f} %"
    success, objective = f"{change.success_points:+.2f} points", f"{change.objective_points:+.2f} points"
    return f"{cost}, success {success}, within the objective {objective}"
