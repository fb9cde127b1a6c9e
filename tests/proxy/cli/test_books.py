from pathlib import Path

import pytest

from proxy.cli.books import NoBooks, NoFile, books_file, open_books, read_config
from proxy.config import ConfigFaults
from tests.books import NOVEMBER, booked
from tests.ledgers import RedisBooks, enter_three
from tests.redis_server import redis_server
from tests.reported import CONFIG, calls, config


def test_a_config_is_read_without_the_secrets_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWEN_KEY", raising=False)
    monkeypatch.setenv("CI_KEY", "")
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.replace('key: "sk-way-search-0123456789"', 'key: "${CI_KEY}"'))
    assert set(read_config(file).teams) == {"search", "sales"}


def test_defaults_and_what_is_set_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKS", "sqlite:///elsewhere.db")
    file = tmp_path / "gateway.yaml"
    file.write_text(
        CONFIG.replace("sqlite:///books.db", "${BOOKS}").replace("{tag_keys", "{timezone: '${TZ_:-UTC}', tag_keys")
    )
    found = read_config(file)
    assert (found.state.url, found.accounting.timezone) == ("sqlite:///elsewhere.db", "UTC")


def test_what_is_wrong_with_a_config_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(ConfigFaults):
            read_config(path)


def test_the_embedded_config_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYSTATION_KEY", raising=False)
    assert "default" in read_config(None).teams


def test_books_that_are_there_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    booked(tmp_path / "books.db", *calls())
    assert len(open_books(config()).sums(NOVEMBER, ("team",))) == 2


def test_without_books_it_is_said_where_they_were_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoBooks, match=r"no call has been booked yet: books\.db"):
        open_books(config())


@pytest.mark.integration
def test_so_are_books_on_redis(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        file = tmp_path / "gateway.yaml"
        file.write_text(CONFIG.replace('"sqlite:///books.db"', f'"{server.url}", namespace: tested'))
        books = RedisBooks(server.url, "tested")
        enter_three(books.store)
        assert len(open_books(read_config(file)).sums(NOVEMBER, ("team",))) == 2
        books.close()


def test_what_redis_holds_is_no_file() -> None:
    with pytest.raises(NoFile, match="in Redis"):
        books_file(config(CONFIG.replace("sqlite:///books.db", "redis://:secret@host/0")))
