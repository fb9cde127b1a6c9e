import pytest

from proxy.cli.rehearsal import ModelTrial, Rehearsal
from proxy.config import Config
from proxy.config.load import load_text
from routing.simulate import Request

CONFIG = """
version: 1
providers:
  p: {kind: openai, base_url: "http://127.0.0.1:1/v1"}
  d: {kind: demo, profile: cheap}
models:
  chat:
    strategy: cheapest
    slo: {ttft: 3s}
    retries: {max_attempts: 2}
    timeouts: {first_token: 4s, total: 50s}
    targets:
      - {provider: p, model: cheap, price_usd_per_mtok: {input: 0.1, output: 0.3}}
      - {provider: p, model: dear, price_usd_per_mtok: {input: 1, output: 3}}
  alone: {targets: [{provider: p, model: cheap}], fallbacks: [{on: unavailable, model: chat}]}
  simulated: {targets: [{provider: d, model: x, price_usd_per_mtok: {input: 1, output: 3}}]}
teams: {t: {keys: [{name: k, key: sk-way-0123456789}]}}
"""
MIDDLE = "{provider: p, model: middle, price_usd_per_mtok: {input: 0.5, output: 1}}"
REQUESTS = [Request(index, index * 0.5, 1000, 20) for index in range(240)]


def config(old: str = "", new: str = "") -> Config:
    assert old in CONFIG
    return load_text(CONFIG.replace(old, new, 1) if old else CONFIG, {}, "my.yaml").config


def play(
    name: str, new: Config | None = None, old: Config | None = None, has_faults: bool = False, at_once: bool = False
) -> ModelTrial:
    requests = [Request(index, 0.0, 1000, 20) for index in range(5)] if at_once else REQUESTS
    return Rehearsal(new or config(), old, requests, {}, [1], has_faults=has_faults).play(name)


def test_calls_are_made_as_the_config_says() -> None:
    policy = play("chat").side.policy
    assert (policy.max_attempts, policy.first_token_timeout_s, policy.objective_s, policy.deadline_s) == (2, 4, 3, 50)


def test_one_config_is_tried_alone_with_its_oracle() -> None:
    trial = play("chat")
    assert (trial.new.summary.calls, trial.oracle.summary.name, trial.old, trial.change) == (240, "oracle", None, None)
    assert trial.objections == []


def test_an_edit_that_changes_nothing_changes_no_figure() -> None:
    trial = play("chat", config(), config(), has_faults=True)
    assert trial.old == trial.new
    assert trial.objections == []


def test_an_edit_that_costs_more_is_objected_to() -> None:
    trial = play("chat", config("strategy: cheapest", "strategy: fastest"), config())
    assert trial.change is not None
    assert trial.change.cost_pct is not None
    assert trial.change.cost_pct > 100
    assert any(objection.startswith("cost +") for objection in trial.objections)


def test_a_target_is_as_fast_in_both_configs_whoever_else_is_there() -> None:
    more = config("targets:\n", f"targets:\n      - {MIDDLE}\n")
    added, removed = play("chat", more, config()), play("chat", config(), more)
    assert added.side.known.keys() - removed.side.known.keys() == {"p/middle"}
    for name, latency in removed.side.known.items():
        assert added.side.known[name] == latency


def test_the_faults_strike_the_same_targets_in_both_configs() -> None:
    less = config("      - {provider: p, model: dear, price_usd_per_mtok: {input: 1, output: 3}}\n")
    trial = play("chat", config(), less, has_faults=True)
    assert trial.old is not None
    phases = {phase.name: phase for phase in trial.old.summary.phases}
    assert len(phases) == 8
    assert phases["outage"].success_pct == 0
    assert "these faults strike all of them at once: outage" in " ".join(trial.notes)


def test_a_single_target_is_played_without_faults_and_it_is_said() -> None:
    trial = play("alone", has_faults=True)
    assert trial.new.summary.phases == ()
    said = " ".join(trial.notes)
    assert "one target only: no faults are played" in said
    assert "no price is known, so it counts as $0 here: p/cheap" in said
    assert "fallbacks are not simulated" in said


def test_a_trace_that_takes_no_time_has_no_room_for_faults() -> None:
    assert "all requests come at once" in " ".join(play("chat", has_faults=True, at_once=True).notes)


@pytest.mark.parametrize(("name", "is_assumed"), [("chat", True), ("simulated", False)])
def test_assumed_latencies_are_owned_up_to(name: str, is_assumed: bool) -> None:
    assert ("assumed latencies" in " ".join(play(name).notes)) == is_assumed


def test_a_model_that_is_new_has_nothing_to_be_compared_with() -> None:
    old = config("  simulated: {targets: [{provider: d, model: x, price_usd_per_mtok: {input: 1, output: 3}}]}\n")
    trial = play("simulated", config(), old)
    assert (trial.old, trial.change) == (None, None)
    assert "the old config has no such model" in " ".join(trial.notes)


def test_a_simulated_provider_fails_as_its_config_says() -> None:
    broken = config("profile: cheap", "profile: cheap, faults: {error_rate: 100%}")
    trial = play("simulated", broken, config())
    assert (trial.new.summary.success_pct, trial.oracle.summary.success_pct) == (0, 0)
    assert any(objection.startswith("success -") for objection in trial.objections)
