from typing import Any

import pytest

from proxy.cli import main
from proxy.cli.replay import render


def target(name: str, place: int, margin: float, is_stranger: bool = False) -> dict[str, Any]:
    estimate = {
        "cost_usd": 0.00042,
        "p_ok": 0.99,
        "p_miss": 0.05,
        "p_cut": 0.0,
        "ttft_p50_s": 0.5,
        "ttft_p95_s": 1.25,
        "score": 1.0,
    }
    return {"target": name, "place": place, "estimate": estimate, "margin_usd": margin, "is_stranger": is_stranger}


def strategy(name: str, *targets: dict[str, Any], in_force: bool = False) -> dict[str, Any]:
    return {"strategy": name, "in_force": in_force, "miss_usd": 0.004, "targets": list(targets)}


def answer(**changes: Any) -> dict[str, Any]:
    plan = {
        "model": "chat",
        "strategy": "balanced",
        "at_s": 0.0012,
        "input_tokens": 1000,
        "max_output_tokens": None,
        "tried": [],
        "order": ["a/m", "b/m"],
        "excluded": [{"target": "c/m", "reason": "breaker open", "until_s": 3.21}],
        "limit_s": 1.99,
        "strategies": [
            strategy("balanced", target("a/m", 1, 0.0), target("b/m", 2, 0.001), in_force=True),
            strategy("fastest", target("b/m", 1, 0.0), target("a/m", 2, -0.1, is_stranger=True)),
        ],
    }
    attempt = {
        "target": "a/m",
        "at_s": 0.002,
        "kind": "failed",
        "error": "upstream_error",
        "ttft_s": None,
        "duration_s": 0.25,
        "input_tokens": 1000,
        "output_tokens": 0,
        "cached_tokens": 0,
    }
    running = {"target": "b/m", "at_s": 0.3, "kind": None, "error": None, "ttft_s": None, "duration_s": None}
    return {
        "id": "req_1",
        "request_id": "mine",
        "age_s": 12.3,
        "model": "chat",
        "fallback": None,
        "status": 502,
        "error": "upstream_error",
        "plans": [{**plan, **changes}],
        "attempts": [attempt, running],
    }


def lines(said: dict[str, Any]) -> list[str]:
    return render(said).splitlines()


def test_the_call_and_its_attempts_come_first() -> None:
    head, _, titles, first, second, *_ = lines(answer())
    assert head == "call mine, 12 s ago: model chat, status 502 (upstream_error)"
    assert titles.split("  ")[0] == "asked"
    assert first.split() == ["a/m", "0.002", "failed", "(upstream_error)", "–", "0.250", "1000/0"]
    assert second.split() == ["b/m", "0.300", "under", "way", "–", "–", "–"]


def test_each_strategy_has_its_order_and_the_one_in_force_a_star() -> None:
    *_, plan, out, _, first, second, third, fourth, legend = lines(answer())
    assert plan == "plan 1 at 0.001 s: balanced over chat, in this order: a/m, b/m"
    assert out == "  left out: c/m: breaker open, 3.2 s left"
    figures = ["0.000420", "0.50/1.25", "s", "0.990", "0.050"]
    assert first.split() == ["*", "balanced", "1", "a/m", *figures, "0.000000"]
    assert second.split() == ["2", "b/m", *figures, "0.001000"]
    assert third.split() == ["fastest", "1", "b/m", *figures, "0.000000"]
    assert fourth.endswith("not yet known")
    assert legend.startswith("  first token wanted within 1.99 s")


def test_a_first_that_was_not_the_best_score_is_accounted_for() -> None:
    assert "near equals" not in render(answer())
    assert "near equals are left to chance" in render(answer(order=["b/m", "a/m"]))


@pytest.mark.parametrize(
    ("name", "said"), [("round_robin", "round_robin takes turns"), ("balanced", "nobody was compared")]
)
def test_a_plan_without_comparison_says_so(name: str, said: str) -> None:
    assert said in lines(answer(strategy=name, strategies=[]))[-1]


def test_a_call_that_nobody_was_asked_for_and_a_fallback_are_told() -> None:
    said = {**answer(order=[], strategies=[]), "attempts": [], "fallback": "static"}
    assert "nobody was asked" in render(said)
    assert "in this order: nobody" in render(said)
    assert "answered by the fallback 'static'" in render(said)


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WAYSTATION_ADMIN_KEY", raising=False)
    assert main(["replay", "req_1"]) == 2
    assert "replay: set WAYSTATION_ADMIN_KEY" in capsys.readouterr().err


def test_nobody_there_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WAYSTATION_ADMIN_KEY", "sk-way-admin-0123456789")
    assert main(["replay", "req/1", "--url", "http://127.0.0.1:1"]) == 1
    assert "no gateway answers at http://127.0.0.1:1" in capsys.readouterr().err
