import pytest

from benchmarks import shared_state


def test_the_documented_command_prints_each_kind_of_call_and_team(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared_state, "KINDS", ("json",))  # the other takes as long again
    assert shared_state.main(["--runs", "1", "--seconds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"json, {team}" for team in ("without limits", "two rates and two quotas")
    ]
    assert all(line.endswith("µs a call") for line in lines)
