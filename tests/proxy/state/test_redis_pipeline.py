from collections.abc import Iterator
from uuid import uuid4

import pytest

from proxy.state import StateFailed
from proxy.state.base import StateAway
from proxy.state.redis_client import open_client
from proxy.state.redis_pipeline import ask_all, run_all
from proxy.state.scripts import load_script
from tests.redis_server import RedisServer, free_port, redis_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_commands_go_together_and_answers_come_in_their_order(server: RedisServer) -> None:
    client, key = open_client(server.url), uuid4().hex
    assert ask_all(client, []) == []
    assert ask_all(client, [("SET", key, 1), ("GET", key), ("GET", f"{key}2")]) == [True, b"1", None]
    client.close()


def test_one_that_fails_is_told_when_all_are_done(server: RedisServer) -> None:
    client, key = open_client(server.url), uuid4().hex
    with pytest.raises(StateFailed, match="refused"):
        ask_all(client, [("SET", key, 1), ("HGET", key, "x"), ("INCR", key)])
    assert ask_all(client, [("GET", key)]) == [b"2"]
    client.close()


def test_a_script_that_redis_has_forgotten_is_sent_again_for_each_that_failed(server: RedisServer) -> None:
    client, fleet, hear = open_client(server.url), f"{{{uuid4().hex}}}", load_script("hear")
    runs = [(fleet, (name, "at\n1", 100)) for name in ("a", "b")]
    for _ in range(2):
        client.script_flush()
        run_all(client, hear, runs)
        run_all(client, hear, runs)
    assert ask_all(client, [("GET", f"{fleet}:journal:b"), ("ZCARD", f"{fleet}:journals")]) == [b"at\n1", 2]
    client.close()


def test_a_script_that_fails_is_told(server: RedisServer) -> None:
    client, fleet = open_client(server.url), f"{{{uuid4().hex}}}"
    ask_all(client, [("SET", f"{fleet}:journals", "no sorted set")])
    with pytest.raises(StateFailed):
        run_all(client, load_script("hear"), [(fleet, ("a", "", 1))])
    client.close()


def test_a_server_that_is_not_there_is_away() -> None:
    client = open_client(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StateAway):
        ask_all(client, [("PING",)])
    client.close()
