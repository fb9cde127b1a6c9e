import pytest

from benchmarks.cache import main


def test_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--calls", "20", "--answers", "100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.endswith(" µs")]) == 13
    assert len([line for line in lines if line.endswith(" resident")]) == 5
