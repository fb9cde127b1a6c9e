from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from proxy.state import StateFailed, StateUnusable
from proxy.state.base import StateAway
from proxy.state.redis_client import asked, open_client, run_script
from proxy.state.redis_keys import RedisKeys
from proxy.state.scripts import Script, load_script
from tests.redis_fleet import redis_cluster, watched_redis
from tests.redis_server import RedisServer, redis_server, running

pytestmark = pytest.mark.integration


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    source = "#!lua flags=allow-oom\nreturn redis.call('INCRBY', KEYS[1] .. ':n', ARGV[1])\n"
    monkeypatch.setattr("proxy.state.scripts._read", lambda _: source)
    return load_script("adds")


@pytest.fixture
def client(redis: RedisServer) -> Iterator[redis_py.Redis]:
    with open_client(redis.url) as client:
        yield client


def raising(error: Exception) -> Any:
    def do() -> None:
        raise error

    return do


def test_a_script_runs_and_is_sent_again_when_it_was_forgotten(
    client: redis_py.Redis, script: Script, keys: RedisKeys
) -> None:
    assert run_script(client, script, [keys.fleet], [2]) == 2
    client.script_flush()
    assert run_script(client, script, [keys.fleet], [b"3"]) == 5
    assert asked(lambda: client.get(f"{keys.fleet}:n")) == b"5"


def test_an_older_server_gets_scripts_without_flags(script: Script) -> None:
    ran = []

    class Old:
        def evalsha(self, digest: str, *_: object) -> None:
            ran.append(digest)
            raise redis_py.exceptions.NoScriptError

        def eval(self, source: str, *_: object) -> str:
            ran.append(source)
            if source.startswith("#!"):
                raise redis_py.ResponseError("Error compiling script (new function): unexpected symbol near '#'")
            return "done"

    assert run_script(Old(), script, ["{a}"]) == "done"  # type: ignore[arg-type]
    old = script.without_flags
    assert ran == [script.digest.decode(), old.digest.decode(), script.source.decode(), old.source.decode()]


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (redis_py.ConnectionError("s3cret"), True),
        (redis_py.TimeoutError("s3cret"), True),
        (OSError("s3cret"), True),
        (redis_py.exceptions.RedisClusterException("s3cret"), True),
        (redis_py.exceptions.ReadOnlyError("s3cret", status_code="READONLY"), True),
        (redis_py.exceptions.OutOfMemoryError("s3cret", status_code="OOM"), True),
        (redis_py.exceptions.BusyLoadingError("s3cret"), True),
        (redis_py.ResponseError("MISCONF s3cret"), True),
        (
            redis_py.ResponseError(
                "Error running script (call to f_a): @user_script:1: -OOM s3cret", status_code="ERR"
            ),
            True,
        ),
        (redis_py.ResponseError("WRONGTYPE s3cret"), False),
        (redis_py.DataError("s3cret"), False),
    ],
)
def test_what_will_pass_is_told_from_what_is_refused(error: Exception, is_away: bool) -> None:
    with pytest.raises(StateFailed) as caught:
        asked(raising(error))
    assert isinstance(caught.value, StateAway) == is_away
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis_py.AuthenticationError("s3cret"), "it refuses the login; check the user and password in its URL"),
        (redis_py.ConnectionError("s3cret"), "no connection; check that it runs, and the host and port in its URL"),
        (redis_py.TimeoutError("s3cret"), "no answer in time"),
        (redis_py.exceptions.BusyLoadingError("s3cret"), "BusyLoadingError"),
    ],
)
def test_why_nobody_can_be_asked_is_said_with_what_to_look_at(error: Exception, words: str) -> None:
    with pytest.raises(StateAway) as caught:
        asked(raising(error))
    assert str(caught.value) == f"Redis can't be asked: {words}"


def test_a_script_that_fails_says_only_what_kind_of_fault_it_is(client: redis_py.Redis, script: Script) -> None:
    with pytest.raises(StateFailed, match=r"Redis refused a command: ERR, line \d of the script$") as caught:
        run_script(client, script, ["{a}"], ["s3cret"])
    assert "s3cret" not in str(caught.value)


def test_nobody_is_there() -> None:
    with open_client("redis://127.0.0.1:1") as client, pytest.raises(StateAway):
        asked(client.ping)
    away = open_client("redis+cluster://127.0.0.1:1")
    away.close()
    with pytest.raises(StateAway):
        asked(lambda: away.get("a"))
    with open_client("redis+sentinel://127.0.0.1:1/main") as client, pytest.raises(StateAway):
        asked(client.ping)


def test_another_kind_of_url_is_refused() -> None:
    with pytest.raises(StateUnusable):
        open_client("sqlite:///a.db")


def test_the_urls_login_and_database_are_used(tmp_path: Path, script: Script) -> None:
    with running(Locked(tmp_path, "--requirepass", "s3cret")) as server:
        with open_client(f"redis://:s3cret@127.0.0.1:{server.port}/2") as client:
            assert run_script(client, script, ["{a}"], [1]) == 1
            assert "s3cret" not in repr(client)
            assert asked(client.client_info)["db"] == 2
        with open_client(f"redis://:wrong@127.0.0.1:{server.port}") as client, pytest.raises(StateAway) as caught:
            asked(client.ping)
        assert "wrong" not in str(caught.value)


class Locked(RedisServer):
    """One that wants a password."""

    @property
    def client(self) -> redis_py.Redis:
        return redis_py.Redis(port=self.port, password="s3cret")


def test_a_demoted_server_is_away_and_its_connection_given_up(tmp_path: Path, script: Script) -> None:
    with redis_server(tmp_path) as server, open_client(server.url) as client:
        run_script(client, script, ["{a}"], [1])
        before = client.client_id()
        server.ask("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StateAway):
            run_script(client, script, ["{a}"], [1])
        assert client.client_id() != before


def test_the_sentinels_server_is_asked(tmp_path: Path, script: Script) -> None:
    with watched_redis(tmp_path, sentinels=1) as watched, open_client(watched.url) as client:
        assert run_script(client, script, ["{a}"], [1]) == 1
        assert watched.primary.ask("GET", "{a}:n") == b"1"


def test_the_keys_of_a_cluster_are_found(tmp_path: Path, script: Script) -> None:
    with redis_cluster(tmp_path) as cluster:
        client = open_client(cluster.url)
        teams = [RedisKeys("ns").team(name) for name in "abcdefgh"]
        assert [run_script(client, script, [team], [7]) for team in teams] == [7] * len(teams)
        assert [asked(lambda team=team: client.get(f"{team}:n")) for team in teams] == [b"7"] * len(teams)  # type: ignore[misc]
        assert all(node.ask("DBSIZE") for node in cluster.nodes)
        client.close()
