from pathlib import Path

import pytest

from benchmarks.cache_replay import main
from tests.redis_server import redis_server


@pytest.mark.integration
def test_every_figure_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with redis_server(tmp_path) as server:
        assert main(["--redis", server.url, "--entries", "600", "--scopes", "7"]) == 0
        assert server.client.keys("*:cache:0*") == []
    written, ready, cpu, memory, lag = capsys.readouterr().out.splitlines()
    assert "600 entries in 7 scopes" in written
    assert "knows 600 entries" in ready
    assert cpu.startswith("CPU")
    assert memory.startswith("memory")
    assert "p99" in lag
