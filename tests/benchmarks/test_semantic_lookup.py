import pytest

from benchmarks.semantic_lookup import main


def test_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--entries", "300", "--searches", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "p50" in line and "p99" in line]) == 8
    recall = next(line for line in lines if line.startswith("recall"))
    assert float(recall.split()[-1]) > 0.98
