"""The command line."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as command


def _names(*arguments: str) -> list[str]:
    options = command._parser().parse_args(arguments)
    return [subject.name for subject in command.make_plan(options).subjects]


def test_the_floor_is_always_measured() -> None:
    assert _names("--only", "waystation") == ["floor", "waystation"]
    assert _names("--only", "ferrogw") == ["floor", "ferrogw"]


def test_a_quick_look_leaves_the_peers_out_unless_they_are_named() -> None:
    assert _names("--quick") == ["floor", "waystation"]
    assert _names("--quick", "--only", "litellm") == ["floor", "litellm"]
    assert "litellm" in _names()


def test_five_runs_are_the_default() -> None:
    plan = command.make_plan(command._parser().parse_args([]))
    assert (plan.runs, plan.seconds) == (5, 5)


@pytest.mark.parametrize("arguments", [["--only", "nginx"], ["--runs", "0"], ["--seconds", "x"]])
def test_misuse_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "error" in capsys.readouterr().err
