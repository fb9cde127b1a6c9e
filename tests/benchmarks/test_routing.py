import re
from pathlib import Path

import pytest

from benchmarks.routing import OURS, main

DOCS = Path(__file__).parents[2] / "docs" / "routing.md"


def test_the_documented_command_prints_the_documented_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert ".venv/bin/python -m benchmarks.routing\n" in DOCS.read_text()
    assert main(["--seeds", "1", "--ours-only", "--trace", "code", "--requests", "1000"]) == 0
    out = capsys.readouterr().out
    for name, _, _ in OURS:
        assert out.count(f"| {name} ") == 2  # in both tables
        assert f"| {name} |" in DOCS.read_text()
    assert len(re.findall(r"^\| oracle +\|", out, re.MULTILINE)) == 1
