import pytest

from benchmarks.books import main


def test_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--calls", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "an entry, on the loop",
        "a settlement waits for its write",
        "CPU of that, all threads and a timer of the loop",
        "from the journal to the books",
        "300 calls into the books",
        "sums by team, a month",
        "sums by team, key, model, provider and day",
        "sums by model and hour",
        "sums by tag and month",
        "use of every key and model",
        "one call by its id",
        "what was booked late",
        "what one provider was asked for, by credential and day",
        "Σ calls = Σ sums",
        "report by team",
        "report by team, model, provider and day",
        "the same, no call checked",
        "report by team and month",
        "report by model and hour",
        "size",
    ]
