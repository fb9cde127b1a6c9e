import numpy as np
import pytest

from benchmarks.semantic.__main__ import print_table, share


def test_a_share_is_the_mean_of_its_runs() -> None:
    group = np.array([True, True, False, True, True])
    runs = [np.array([True, False, True, False, False]), np.array([True, True, True, False, False])]
    assert share(runs, group) == "37.5%"


def test_tables_are_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["", "a"], [["x", "1"]])
    assert capsys.readouterr().out == "|  | a |\n|---|---|\n| x | 1 |\n"
