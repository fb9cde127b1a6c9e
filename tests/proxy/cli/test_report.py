import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from proxy.cli import main, report
from proxy.state import SqliteLedger
from tests.books import MORNING_S, booked
from tests.reported import CONFIG, calls

NOVEMBER = ("--period", "2026-11")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose books hold calls, on the morning of 21 November."""
    monkeypatch.setattr(report, "time", lambda: MORNING_S)
    monkeypatch.chdir(tmp_path)
    booked(tmp_path / "books.db", *calls())
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    return tmp_path / "gateway.yaml"


def run(file: Path, *options: str) -> int:
    return main(["report", "--config", str(file), *options])


def test_the_report_of_this_month_is_a_table_of_eighty_columns(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    lines = [line.split() for line in out.splitlines()]
    assert ["sales", "4", "60", "0.000001"] in [line[:4] for line in lines]
    assert any(line[:2] == ["total", "7"] for line in lines)
    for said in (
        "2026-11-01 to 2026-11-30 (UTC)",
        "adjustment of 2026-10",
        "unmetered",
        "team_rpm",
        "Σ calls = Σ sums",
    ):
        assert said in out


def test_csv_and_focus_are_tables_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "--format", "csv", "--group-by", "model,tag:env", *NOVEMBER) == 0
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert (rows[-1]["kind"], rows[-1]["cost_usd"]) == ("total", "0.000004557")
    assert run(file, "--format", "focus", *NOVEMBER) == 0
    assert "ChargeClass" in next(csv.reader(StringIO(capsys.readouterr().out)))


@pytest.mark.parametrize("option", [("--json",), ("--format", "json")])
def test_json_has_everything(file: Path, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--team", "sales", "--group-by", "key", "--granularity", "day", "--compare", "previous", "--check")
    assert run(file, "--from", "2026-11-20", "--to", "2026-11-24", *options, *option) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["team"], found["group_by"], found["span"]["granularity"]) == ("sales", ["key"], "day")
    assert [(line["period"], line["key"]) for line in found["lines"]] == [
        ("2026-11-21", "web"),
        ("2026-11-22", "batch"),
        ("2026-11-23", "batch"),
    ]
    assert found["comparison"] is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--team", "serch"), "--team: there is no team 'serch' (did you mean 'search'?)"),
        (("--period", "October"), "--period: expected a month such as 2026-10"),
        (("--from", "2026-11-1"), "--from: expected a day"),
        (("--group-by", "colour"), "--group-by: there is no grouping by 'colour'; expected some of team, key"),
        (("--from", "2026-12-01", "--to", "2026-12-02", "--compare", "previous"), "--compare: the span has not begun"),
    ],
)
def test_misuse_is_two_and_says_what_is_right(
    file: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_wrong_choice_is_misuse_too(file: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(file, "--granularity", "week")
    assert caught.value.code == 2


def test_without_books_or_with_a_faulty_config_it_is_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "books.db").rename(file.parent / "other.db")
    assert run(file) == 1
    assert "no call has been booked yet: books.db" in capsys.readouterr().err
    (file.parent / "books.db").write_text("this is no database, and long enough to be seen as none" * 20)
    assert run(file) == 1
    assert "books.db" in capsys.readouterr().err
    file.write_text("version: 2\n")
    assert run(file) == 1
    assert "version" in capsys.readouterr().err


def test_books_that_do_not_add_up_are_one_and_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqliteLedger(file.parent / "books.db")
    store._connection.execute("UPDATE sums_hour SET calls = calls + 1 WHERE provider = 'qwen' AND tag_key = ''")
    store.close()
    assert run(file) == 1
    out = capsys.readouterr().out
    assert "CHECK FAILED" in out
    assert "2026-11-21" in out
