import pytest

from proxy.cli import main
from proxy.cli.explain import render

ANSWER = {
    "model": "chat",
    "strategy": "balanced",
    "objective_ttft_s": 2.0,
    "miss_usd": 0.004,
    "objective_success": None,
    "failure_usd": None,
    "team_may_use_it": False,
    "candidates": [
        {
            "target": "a/m",
            "place": 1,
            "excluded": None,
            "until_s": None,
            "breaker": "closed",
            "headroom": 0.5,
            "in_flight": 0,
            "drop_params": ["seed", "user"],
            "price_usd_per_mtok": None,
            "estimate": {
                "cost_usd": 0.00042,
                "p_ok": 0.99,
                "p_miss": 0.05,
                "p_cut": 0.0,
                "ttft_p50_s": 0.5,
                "ttft_p95_s": 1.25,
                "score": 1.0,
            },
            "margin_usd": 0.0,
        },
        {
            "target": "b/m",
            "place": None,
            "excluded": "breaker open",
            "until_s": 3.21,
            "breaker": "open",
            "headroom": 1.0,
            "in_flight": 0,
            "drop_params": ["seed"],
            "price_usd_per_mtok": None,
            "estimate": None,
            "margin_usd": None,
        },
    ],
}


def test_a_promise_of_success_and_what_a_failure_counts_as_by_it_are_told() -> None:
    head = render({**ANSWER, "objective_success": 0.999, "failure_usd": 0.0125}).splitlines()[0]
    assert head.endswith("; 99.9 % of the calls must succeed, and a failure counts as $0.012500 more")


def test_an_answer_is_a_table_with_the_reason_for_each_place() -> None:
    head, titles, first, second, team = render(ANSWER).splitlines()
    assert head == "model chat, strategy balanced, first token within 2 s; missing that counts as $0.004000"
    assert titles.split()[:2] == ["target", "cost"]
    assert first.split() == [
        "1",
        "a/m",
        "0.000420",
        "0.50/1.25",
        "s",
        "0.990",
        "0.050",
        "50%",
        "0.000000",
        "drops",
        "seed,",
        "user",
    ]
    assert second.endswith("breaker open, 3.2 s left")
    assert team == "the team may NOT use this model"


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WAYSTATION_ADMIN_KEY", raising=False)
    assert main(["explain", "--model", "chat"]) == 2
    assert "WAYSTATION_ADMIN_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
def test_nobody_there_is_said(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WAYSTATION_ADMIN_KEY", "sk-way-admin-0123456789")
    assert main(["explain", "--model", "chat", "--url", url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "sk-way" not in err
    assert url in err
