import pytest

from benchmarks.shared_state import main


@pytest.mark.timeout(180)
def test_the_documented_command_prints_each_kind_of_call_and_team(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--seconds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"{kind}, {team}" for kind in ("json", "stream") for team in ("without limits", "two rates and two quotas")
    ]
    assert all(line.endswith("µs a call") for line in lines)
