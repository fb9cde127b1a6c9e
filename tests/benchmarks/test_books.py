import pytest

from benchmarks import bookload
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


def test_what_books_cost_at_work_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookload, "_CALL_S", 0.01)
    assert main(["--calls", "100", "--load", "1", "--rates", "60", "90"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [f"at {rate} calls/s, {name}" for rate in (60, 90) for name in ("a call", "entries", "waits", "stalls")]
    assert [line.split(":")[0] for line in lines] == ["100 calls into the books", *names]
