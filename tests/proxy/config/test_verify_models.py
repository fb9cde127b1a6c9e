from typing import Any

import pytest

from proxy.config import ConfigFaults
from proxy.config.faults import Finding, display_path
from proxy.config.load import load_text
from proxy.config.verify import verify
from proxy.config.verify_models import check_drops, check_objectives
from tests.gateways import CONFIG

SLOW_DEMO = {"kind": "demo", "faults": {"first_token": "3s"}}


def drops(*names: object) -> list[Finding]:
    return list(check_drops({"chat": {"targets": [{"provider": "p"}, {"drop_params": list(names)}]}}))


def objectives(provider: object = None, **settings: Any) -> list[Finding]:
    model = {"strategy": "balanced", "targets": [{"provider": "p"}], **settings}
    return list(check_objectives({"p": provider}, {"chat": model}))


def test_parameters_that_may_be_left_out_are_fine() -> None:
    assert drops("seed", "user", "top_k", "temperature", "top_logprobs", "logprobs") == []


@pytest.mark.parametrize(
    "name", ["model", "messages", "stream", "tools", "tool_choice", "response_format", "n", "max_tokens", "modalities"]
)
def test_what_changes_the_kind_of_answer_is_never_left_out(name: str) -> None:
    [finding] = drops("seed", name)
    assert (display_path(finding.path), finding.is_warning) == ("models.chat.targets[1].drop_params[1]", False)
    assert "never left out" in finding.message


def test_half_of_what_belongs_together_is_not_left_out() -> None:
    [finding] = drops("logprobs")
    assert (finding.hint, finding.is_warning) == ("leave out top_logprobs too", False)


def test_a_parameter_that_nobody_knows_draws_a_warning_with_the_nearest_name_and_is_not_repeated() -> None:
    [typo] = drops("sede")
    assert (typo.is_warning, typo.hint) == (True, "did you mean 'seed'?")
    [secret] = drops("sk-secret-in-the-wrong-place")
    assert "secret" not in f"{secret.message}{secret.hint}"


@pytest.mark.parametrize("strategy", ["round_robin", "weighted", None])
def test_an_objective_that_the_strategy_does_not_look_at_draws_a_warning(strategy: str | None) -> None:
    settings: dict[str, Any] = {"slo": {"ttft": "2h"}, "targets": []}
    settings |= {"strategy": strategy} if strategy else {}
    [finding] = check_objectives({}, {"chat": settings})
    assert (display_path(finding.path), finding.is_warning) == ("models.chat.slo", True)
    assert "balanced and reliable" in finding.message


@pytest.mark.parametrize("strategy", ["cheapest", "fastest"])
def test_of_an_objective_a_strategy_without_one_looks_at_success_alone(strategy: str) -> None:
    settings: dict[str, Any] = {"strategy": strategy, "targets": []}
    assert list(check_objectives({}, {"chat": {**settings, "slo": {"success": "99.9%"}}})) == []
    [finding] = check_objectives({}, {"chat": {**settings, "slo": {"success": "99.9%", "ttft": "2s"}}})
    assert (display_path(finding.path), finding.is_warning) == ("models.chat.slo.ttft", True)
    assert "slo.success alone" in finding.message


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"slo": {"ttft": "61s"}}, "first_token"),  # its default
        ({"slo": {"ttft_within": "99%"}, "timeouts": {"first_token": "1s"}}, "first_token"),  # ttft's default
        ({"slo": {"ttft": "20s"}, "timeouts": {"total": "10s"}}, "total"),
        ({"slo": {"ttft": "20s"}, "timeouts": {"total": "10s", "first_token": "10s"}}, "first_token"),
    ],
)
def test_an_objective_that_no_answer_can_miss_draws_a_warning(settings: dict[str, Any], limit: str) -> None:
    [finding] = objectives(**settings)
    assert (display_path(finding.path), finding.is_warning) == ("models.chat.slo.ttft", True)
    assert f"timeouts.{limit}" in finding.message


def test_a_simulated_target_that_begins_too_late_draws_a_warning() -> None:
    [finding] = objectives(SLOW_DEMO, slo={"ttft": "2s"})
    assert (display_path(finding.path), finding.is_warning) == ("models.chat.targets[0]", True)
    assert objectives(SLOW_DEMO, slo={"ttft": "3s"}) == []
    assert objectives({**SLOW_DEMO, "kind": "openai"}, slo={"ttft": "2s"}) == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"slo": None},
        {"slo": {"ttft": "2s"}},
        {"slo": {"ttft": 2}, "timeouts": "x"},
        {"slo": {"ttft": "2s"}, "timeouts": {"first_token": []}, "targets": [{"provider": []}, 7]},
        {"slo": {"ttft": "2s"}, "strategy": ["balanced"]},
    ],
)
def test_what_can_be_met_and_what_the_schema_refuses_draws_nothing(settings: dict[str, Any]) -> None:
    assert objectives(SLOW_DEMO if not settings.get("slo") else None, **settings) == []


def test_targets_that_cannot_be_ordered_by_the_strategy_are_named_with_their_line() -> None:
    targets = "targets: [{provider: demo, model: demo-1}]"
    assert CONFIG.splitlines()[5].strip().startswith("chat:")
    free = "[{provider: demo, model: a, weight: 0}]"
    for settings, words in (
        (f"strategy: weighted, targets: {free}", "all weights are zero"),
        ("strategy: cheapest, targets: [{provider: demo, model: a}, {provider: demo, model: b}]", "needs its price"),
    ):
        with pytest.raises(ConfigFaults) as caught:
            load_text(CONFIG.replace(targets, settings), {}, "my.yaml")
        assert {(fault.line, words in fault.message) for fault in caught.value.faults} == {(6, True)}


def test_verify_makes_these_checks() -> None:
    data = {"models": {"chat": {"slo": {"ttft": "1s"}, "targets": [{"provider": "p", "drop_params": ["n"]}]}}}
    said = [finding.message for finding in verify(data)]
    assert any("never left out" in text for text in said)
    assert any("does not look at it" in text for text in said)


def test_a_model_may_fall_back_to_the_one_whose_tier_it_is() -> None:
    chat = {"tier": {"simple": "small", "hard": "chat"}, "targets": []}
    small = {"fallbacks": [{"on": "unavailable", "model": "chat"}], "targets": []}
    assert not any("circle" in finding.message for finding in verify({"models": {"chat": chat, "small": small}}))
