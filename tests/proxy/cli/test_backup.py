from pathlib import Path

import pytest

from proxy.cli import main
from proxy.state import SqliteReports
from tests.books import NOVEMBER, booked, settlement
from tests.gateways import CONFIG


def backup(folder: Path, target: Path) -> int:
    path = folder / "my.yaml"
    path.write_text(CONFIG + f'state: {{url: "sqlite:///{folder}/books.db"}}\n')
    return main(["backup", str(target), "--config", str(path)])


def test_a_backup_is_a_whole_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    booked(tmp_path / "books.db", settlement("a"), settlement("b"))
    assert backup(tmp_path, tmp_path / "copy.db") == 0
    assert "copy.db is a whole copy" in capsys.readouterr().out
    [line] = SqliteReports(tmp_path / "copy.db").sums(NOVEMBER)
    assert line.sums.calls == 2


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    booked(tmp_path / "books.db", settlement("a"))
    (tmp_path / "copy.db").write_text("precious")
    assert backup(tmp_path, tmp_path / "copy.db") == 1
    assert "never written over another file" in capsys.readouterr().err
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_without_books_there_is_no_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup(tmp_path, tmp_path / "copy.db") == 1
    assert "no call has been booked yet" in capsys.readouterr().err


def test_books_on_redis_are_for_redis_to_back_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG + 'state: {url: "redis://:secret@nowhere/0"}\n')
    assert main(["backup", str(tmp_path / "copy.db"), "--config", str(tmp_path / "my.yaml")]) == 2
    said = capsys.readouterr().err
    assert "the books are in Redis" in said
    assert "BGSAVE" in said
    assert "secret" not in said


def test_a_faulty_config_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.yaml").write_text("version: 7\n")
    assert main(["backup", str(tmp_path / "copy.db"), "--config", str(tmp_path / "my.yaml")]) == 1
    assert "version" in capsys.readouterr().err
