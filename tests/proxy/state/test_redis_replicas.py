from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.state import redis_replicas as module
from proxy.state.base import StateAway
from proxy.state.redis_client import open_client
from proxy.state.redis_replicas import Replicas
from tests.fakes import HandClock
from tests.redis_server import RedisServer, redis_server
from tests.server import wait_until

pytestmark = pytest.mark.integration


class Pair:
    """A primary and its replica."""

    def __init__(self, primary: RedisServer, replica: RedisServer) -> None:
        self.primary, self.replica = primary, replica
        self.client = open_client(primary.url)
        self.clock = HandClock(0.0)
        self.replicas = Replicas(self.client, self.clock)

    def is_whole(self) -> bool:
        return int(self.client.execute_command("WAIT", 1, 100)) == 1  # type: ignore[no-untyped-call]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
    with redis_server(tmp_path / "primary", "--repl-diskless-sync-delay", "0") as primary:
        follows = ("--replicaof", "127.0.0.1", str(primary.port))
        with redis_server(tmp_path / "replica", *follows) as replica:
            pair = Pair(primary, replica)
            pair.client.set("begun", 1)
            wait_until(pair.is_whole)
            yield pair
            pair.client.close()


def test_a_server_without_replicas_is_not_waited_for(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        client = open_client(server.url)
        Replicas(client).secure(["{t}"])
        assert client.hgetall("{t}:books") == {}
        client.close()


def test_what_was_written_is_on_the_replica_then(pair: Pair) -> None:
    for number in range(50):
        pair.client.set("written", number)
        pair.replicas.secure(["{t}"])
        assert pair.replica.client.get("written") == str(number).encode()


def test_books_stay_behind_a_replica_that_is_away_and_go_on_without_in_the_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_WAIT_MS", 50)
    pair.replicas.secure(["{t}"])
    pair.replica.freeze()
    for _ in range(2):
        with pytest.raises(StateAway, match="replica"):
            pair.replicas.secure(["{t}"])
        pair.clock.advance(59.0)
    for _ in range(2):
        pair.clock.advance(2.0)
        pair.replicas.secure(["{t}"])
    assert caplog.text.count("go on without") == 1
    pair.replica.thaw()
    wait_until(pair.is_whole)
    pair.replicas.secure(["{t}"])
    assert "is there again" in caplog.text
    pair.replica.freeze()
    with pytest.raises(StateAway, match="replica"):
        pair.replicas.secure(["{t}"])
    pair.replica.thaw()


def test_a_replica_that_was_there_is_missed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_MS", 50)
    pair.replicas.secure(["{t}"])
    pair.replica.kill()
    wait_until(lambda: not pair.client.execute_command("ROLE")[2])  # type: ignore[no-untyped-call]
    with pytest.raises(StateAway, match="replica"):
        pair.replicas.secure(["{t}"])
