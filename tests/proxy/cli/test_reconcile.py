import json
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.state import SqliteLedger
from tests.books import MORNING_MS, attempt, booked, settlement, unix_s
from tests.reported import CONFIG, COSTS_HEADER, DAY_MS
from tests.reported import costs_row as row

USD = 10**9


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose books have two days of one credential of openai's, and a call of qwen's."""
    monkeypatch.chdir(tmp_path)
    booked(
        tmp_path / "books.db",
        settlement("a", attempt("openai", USD, credential_id="1a2b")),
        settlement("b", attempt("openai", 2 * USD, credential_id="1a2b"), began_ms=MORNING_MS + DAY_MS),
        settlement("c", attempt("qwen", 7 * USD, credential_id="9z9z")),
    )
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    return tmp_path / "gateway.yaml"


def run(file: Path, *lines: str, options: tuple[str, ...] = (), provider: str = "openai") -> int:
    export = file.with_name("export.csv")
    export.write_text("\ufeff" + "\n".join((COSTS_HEADER, *lines)) + "\n", encoding="utf-8")
    return main(["reconcile", "--config", str(file), "--provider", provider, str(export), *options])


def test_days_that_agree_are_zero(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, row("0.999", "key_a"), row("2", "key_a", 1)) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split() for line in out.splitlines()]
    assert ["2026-11-21", "1a2b", "0.9990", "1.0000", "0.9990", "0.0000", "0.0010", "agrees"] in lines
    assert ["total", "2.9990", "3.0000", "2.9990", "0.0000", "0.0010"] in lines


def test_what_differs_is_one_with_each_side_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, row("1", "key_a"), row("5", "key_b"), options=("--key", "key_a=1a2b", "--json")) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["credential"], one["verdict"]) for one in found["days"]] == [
        ("1a2b", "agrees"),
        ("key_b", "provider_only"),
    ]
    assert found["days"][1]["provider_only_usd"] == "5.000000000"
    assert (found["agrees"], found["unnamed_keys"], found["incomplete"]) == (False, ["key_b"], None)


def test_keys_that_were_not_named_are_asked_for(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, row("1", "key_a"), row("5", "key_b")) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "--key KEY_ID=CREDENTIAL: key_a, key_b" in out
    assert "2026-11-21 key_b" in out  # a day is never broken in two
    assert "gateway only" in out


def test_an_export_without_keys_is_compared_by_day(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, row("1"), row("", day=2, currency="")) == 0
    assert "does not tell keys apart" in " ".join(capsys.readouterr().out.split())
    assert run(file) == 0
    assert "Nothing was charged" in capsys.readouterr().out


def test_a_call_that_was_booked_late_counts_on_the_day_that_it_began(file: Path) -> None:
    store = SqliteLedger(file.with_name("books.db"))
    began_ms = int(unix_s("2026-11-22T23:59:59") * 1000)
    store._connection.execute(
        f"UPDATE calls SET began_ms = {began_ms}, day = '2026-12-02', hour = {int(unix_s('2026-12-02T05:00'))} "
        "WHERE call_id = 'b'"
    )
    store.close()
    assert run(file, row("1", "key_a"), row("2", "key_a", 1)) == 0


def test_days_that_are_forgotten_are_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqliteLedger(file.with_name("books.db"))
    store._connection.execute("DELETE FROM calls WHERE day = '2026-11-21'")
    store.close()
    assert run(file, row("1", "key_a"), row("2", "key_a", 1)) == 1
    assert "from before 2026-11-22 are forgotten" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "provider", "said"),
    [
        ((), "opanai", "no such provider (did you mean 'openai'?)"),
        (("--key", "key_a"), "openai", "expected KEY_ID=CREDENTIAL"),
        (("--key", "key_a=k9"), "openai", "no such credential"),
    ],
)
def test_misuse_is_two(
    file: Path, options: tuple[str, ...], provider: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, options=options, provider=provider) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_none_or_something_else_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "--config", str(file), "--provider", "openai", "nowhere.csv"]) == 2
    assert "nowhere.csv can't be read" in capsys.readouterr().err
    assert run(file, row("five")) == 1
    assert "line 2: amount_value" in capsys.readouterr().err
    file.with_name("bad.csv").write_bytes(b"\xff\xfe\x00")
    assert main(["reconcile", "--config", str(file), "--provider", "openai", "bad.csv"]) == 1
    assert "not UTF-8" in capsys.readouterr().err
    file.with_name("books.db").unlink()
    assert run(file) == 1
    assert "no call has been booked yet" in capsys.readouterr().err
    file.write_text("version: 3")
    assert run(file) == 1
    assert "version" in capsys.readouterr().err
