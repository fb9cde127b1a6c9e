import pytest

from benchmarks.workers import main


def test_the_documented_command_prints_how_many_times_as_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--seconds", "1"]) == 0
    assert "times as many" in capsys.readouterr().out
