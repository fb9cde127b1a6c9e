import pytest

from benchmarks.failover import main


def test_the_documented_command_prints_what_a_failover_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1"]) == 0
    assert capsys.readouterr().out.startswith("replica 1 ms away: 1 failovers, ")
