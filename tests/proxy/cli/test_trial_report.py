import json
from dataclasses import replace

import pytest

from proxy.cli.latencies import assume
from proxy.cli.rehearsal import ModelTrial, Side
from proxy.cli.trial_report import as_json, render
from proxy.config import ModelConfig
from routing import Capacity, Group, Objective, Price, Target
from routing.simulate import Summary
from routing.simulate.report import Phase
from routing.simulate.trial import Change, Trial

TARGETS = [Target("p/a", "p", "a", Price(0.1, 0.3), Capacity(rpm=60_000)), Target("p/b", "p", "b")]


def a_trial(cost_usd: float, *phases: Phase, **shares: float) -> Trial:
    summary = Summary(
        name="chat",
        calls=10,
        success_pct=99.5,
        objective_pct=95.0,
        ttft_p50_s=0.5,
        ttft_p95_s=1.0,
        ttft_p99_s=2.0,
        cost_usd=cost_usd,
        waste_pct=0.25,
        worst_success_pct=90.0,
        worst_objective_pct=80.0,
        rate_limited=3,
        hedges=0,
        attempts=11,
        phases=phases,
    )
    return Trial(summary, {f"p/{name}": share for name, share in shares.items()})


def trial(**changes: object) -> ModelTrial:
    settings = ModelConfig.model_validate({"targets": [{"provider": "p", "model": "a"}]})
    side = Side(settings, Group(TARGETS, "balanced", Objective(1.5)), assume(TARGETS))
    made = ModelTrial("chat", side, a_trial(2.0, a=90.0, b=9.5), a_trial(1.0, b=100.0), None, None, [], [])
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name fields


def line(text: str, start: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(start)).removeprefix(start).split()


def test_the_targets_are_shown_with_what_they_are_taken_for() -> None:
    text = render([trial()], "conv: 10 requests", [])
    assert text.splitlines()[0] == "model chat, balanced, first token within 1.5 s; conv: 10 requests"
    assert line(text, "p/a ")[0] == "assumed"
    assert line(text, "p/a ")[-3:] == ["0.1/0.3", "60,000", "–"]
    assert line(text, "p/b ")[-3:] == ["–", "–", "–"]


def test_the_figures_stand_side_by_side() -> None:
    text = render([trial(old=a_trial(4.0, a=99.5), change=Change(0.0, 0.0, -50.0))], "conv", [])
    assert line(text, "      ") == ["new", "old", "oracle"]
    assert line(text, "success %") == ["99.50", "99.50", "99.50"]
    assert line(text, "cost $") == ["2.0000", "4.0000", "1.0000"]
    assert line(text, "cost / oracle") == ["2.00", "4.00", "1.00"]
    assert line(text, "answered by p/b %") == ["9.5", "0.0", "100.0"]
    assert text.splitlines()[-1].startswith("this edit: cost -50.0 %, success +0.00 points")


def test_each_phase_has_its_line() -> None:
    phases = Phase("outage", 5, 80.0, 70.0, 0.5), Phase("hang", 0, None, None, 0.0)
    text = render([trial(new=a_trial(2.0, *phases), oracle=a_trial(1.0, *phases))], "conv", [])
    assert line(text, "outage") == ["80.00", "/", "70.0,", "0.500"] * 2
    assert line(text, "hang") == ["–", "–"]


def test_without_a_cost_nothing_is_compared_by_it() -> None:
    text = render([trial(oracle=a_trial(0.0), old=a_trial(0.0), change=Change(0.0, 0.0, None))], "conv", [])
    assert "cost / oracle" not in text
    assert "this edit: cost unknown" in text


def test_objections_notes_and_dropped_models_are_told() -> None:
    text = render([trial(objections=["cost +18.2 %"], notes=["mind the gap"])], "conv", ["gone"])
    assert "worse than tolerated: cost +18.2 %" in text
    assert "note: mind the gap" in text
    assert text.endswith("will be refused: gone")


@pytest.mark.parametrize(("objections", "is_ok"), [([], True), (["cost +18.2 %"], False)])
def test_a_program_is_told_all_of_it(objections: list[str], is_ok: bool) -> None:
    report = json.loads(json.dumps(as_json([trial(objections=objections)])))
    assert report["ok"] == is_ok
    (model,) = report["models"]
    assert (model["model"], model["objective_ttft_s"], model["old"], model["change"]) == ("chat", 1.5, None, None)
    assert model["new"]["shares_pct"] == {"p/a": 90.0, "p/b": 9.5}
    assert (model["oracle"]["cost_usd"], model["objections"]) == (1.0, objections)
    assert model["targets"][1]["price_usd_per_mtok"] is None


def test_what_is_not_quite_all_is_not_shown_as_100() -> None:
    nearly = a_trial(2.0, Phase("outage", 30_000, 99.996, 99.96, 0.5))
    nearly = replace(nearly, summary=replace(nearly.summary, success_pct=99.996, worst_success_pct=99.97))
    text = render([trial(new=nearly, oracle=nearly)], "conv", [])
    assert line(text, "success %") == ["99.99"] * 2
    assert line(text, "worst minute success %") == ["99.9"] * 2
    assert line(text, "outage") == ["99.99", "/", "99.9,", "0.500"] * 2
