from pathlib import Path

import pytest

from benchmarks.shared_books import main
from tests.redis_server import redis_server


@pytest.mark.integration
def test_every_figure_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with redis_server(tmp_path) as server:
        assert main([server.url, "--calls", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "at 500 calls a second, into the books",
        "at 5,000 calls a second, into the books",
        "a call",
        "a row of the sums",
        "sums by team, a month",
        "sums by team, key, model, provider and day",
        "sums by model and hour",
        "sums by tag and month",
        "use of every key and model",
        "one call by its id",
        "one call by a name that is not there",
        "what one provider was asked for, by credential and day",
        "Σ calls = Σ sums",
        "report by team",
        "report by team, no call checked",
    ]
