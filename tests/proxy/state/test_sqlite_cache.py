import sqlite3
from pathlib import Path
from typing import Any

import pytest

from proxy.state import CacheRow, Meant, SqliteCache, StateFailed, StateUnusable

BUDGET = 10**9


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def row(number: int, data: bytes = b"data", **given: Any) -> CacheRow:
    made = CacheRow(
        key(number), data, "search", "chat", b"scope", f"call{number}", "", f"answer{number}", 1000 + number, 10**15
    )
    return made._replace(**given)


def filled(path: Path, *rows: CacheRow) -> SqliteCache:
    rows_of = SqliteCache(path)
    rows_of.add(rows, BUDGET, 0)
    return rows_of


def test_what_is_put_in_is_found_again_by_whoever_opens_the_file(tmp_path: Path) -> None:
    first = filled(tmp_path / "c", row(1, b"one"), row(2, b"two"))
    first.close()
    again = SqliteCache(tmp_path / "c")
    assert again.find([key(1), key(2), key(3)]) == {key(1): b"one", key(2): b"two"}
    assert sorted(again.all_keys()) == [key(1), key(2)]
    assert again.used_bytes > 0
    again.close()


def test_the_file_is_for_its_own_user_alone(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o600


def test_a_row_takes_the_place_of_the_one_with_its_key(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", row(1, b"old"))
    rows.add([row(1, b"new")], BUDGET, 0)
    assert rows.find([key(1)]) == {key(1): b"new"}
    assert len(list(rows.all_keys())) == 1


def test_what_has_expired_makes_room_first_and_then_the_oldest(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", *(row(number, bytes(1000)) for number in range(1, 200)))
    rows.add([row(500, bytes(1000), expires_ms=5)], BUDGET, 0)
    budget = rows.used_bytes - 5000
    rows.add([row(501, bytes(1000))], budget, 10)
    kept = set(rows.all_keys())
    assert rows.used_bytes <= budget
    assert key(500) not in kept
    assert key(1) not in kept
    assert {key(199), key(501)} <= kept
    assert len(kept) > 180


def test_a_flood_stays_within_the_budget(tmp_path: Path) -> None:
    rows = SqliteCache(tmp_path / "c")
    for at in range(100):
        rows.add([row(1000 * at + number, bytes(2000)) for number in range(50)], 2_000_000, 0)
    assert rows.used_bytes <= 2_000_000
    assert len(list(rows.all_keys())) > 400


@pytest.mark.parametrize(
    ("meant", "left"),
    [
        (Meant(id="call1"), {2, 3}),
        (Meant(id="answer2"), {1, 3}),
        (Meant(id="mine"), {1, 2}),
        (Meant(team="sales"), {1, 2}),
        (Meant(team="search", model="mini"), {1, 3}),
        (Meant(stored_before_ms=1002), {2, 3}),
        (Meant(), set()),
        (Meant(id="nothing"), {1, 2, 3}),
    ],
)
def test_what_is_meant_is_forgotten(tmp_path: Path, meant: Meant, left: set[int]) -> None:
    rows = filled(tmp_path / "c", row(1), row(2, model="mini"), row(3, team="sales", request_id="mine"))
    assert rows.purge(meant) == 3 - len(left)
    assert set(rows.all_keys()) == {key(number) for number in left}


def test_what_no_config_stands_behind_is_forgotten(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", row(1), row(2, scope=b"other"))
    assert rows.keep_scopes({b"scope"}) == 1
    assert list(rows.all_keys()) == [key(1)]
    assert rows.keep_scopes(()) == 1


def test_single_rows_can_be_taken_out(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", row(1), row(2))
    rows.discard([key(1), key(9)])
    assert list(rows.all_keys()) == [key(2)]


@pytest.mark.parametrize("spoil", ["garbage", "version"])
def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c"
    filled(path, row(1)).close()
    if spoil == "garbage":
        path.write_bytes(b"no database at all" * 500)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
    rows = SqliteCache(path)
    assert list(rows.all_keys()) == []
    assert (tmp_path / "c.damaged").exists()
    assert "set aside" in caplog.text


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "c") as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StateUnusable, match="another program"):
        SqliteCache(tmp_path / "c")
    assert not (tmp_path / "c.damaged").exists()


def test_a_file_that_breaks_later_fails_as_such(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", row(1))
    with sqlite3.connect(tmp_path / "c") as connection:
        connection.execute("DROP TABLE answers")
    with pytest.raises(StateFailed):
        rows.find([key(1)])


def test_notes_are_kept_by_name_whatever_becomes_of_rows(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", row(1))
    rows.note("learned", b"old")
    rows.note("learned", b"new")
    rows.purge(Meant())
    rows.keep_scopes(())
    rows.close()
    again = SqliteCache(tmp_path / "c")
    assert (again.find_note("learned"), again.find_note("other")) == (b"new", None)


def test_what_is_purged_is_not_to_be_read_from_the_file_either(tmp_path: Path) -> None:
    rows = filled(tmp_path / "c", row(1, b"a secret that nobody guesses" * 100), row(2, b"another" * 100))
    assert rows.purge(Meant(id="call1")) == 1
    files = [one.read_bytes() for one in tmp_path.iterdir()]
    assert any(b"another" in data for data in files)
    assert not any(b"a secret that nobody guesses" in data for data in files)
