import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main
from proxy.state import SqliteRegistry
from tests.gateways import KEY
from tests.redis_server import redis_server

TEXT = f"""\
version: 1
state: {{url: "sqlite:///state/a.db"}}
providers: {{p: {{kind: demo}}}}
models: {{chat: {{targets: [{{provider: p, model: m}}]}}}}
teams:
  search: {{keys: [{{name: ci, key: {KEY}}}]}}
  sales: {{}}
"""


class Shell:
    """Runs the command in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.err = ""
        self._capsys = capsys

    def keys(self, *arguments: str, code: int = 0) -> str:
        """Standard output; standard error is in `err`."""
        assert main(["keys", *arguments, "--config", "my.yaml"]) == code
        out, self.err = self._capsys.readouterr()
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.keys(*arguments, "--json"))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(TEXT)
    return Shell(tmp_path, capsys)


def named(team: str, name: str) -> tuple[str, ...]:
    return "--team", team, "--name", name


def test_a_new_key_is_the_only_thing_on_standard_output_and_nowhere_else(shell: Shell) -> None:
    out = shell.keys("create", *named("sales", "web"), "--expires", "2999-01-31")
    assert out.startswith("sk-ws-")
    assert len(out.splitlines()) == 1
    assert f"{shell.folder}/state/a.db: the key 'web' is made for the team 'sales'" in shell.err
    assert "It expires at 2999-01-31T00:00:00+00:00. It is shown this once" in shell.err
    key = out.strip()
    assert key not in shell.err
    assert key.encode() not in (shell.folder / "state" / "a.db").read_bytes()
    assert key not in shell.keys("list") + json.dumps(shell.json("list"))


def test_the_database_of_the_config_is_used_from_the_working_directory(shell: Shell) -> None:
    shell.keys("create", *named("sales", "web"))
    assert sorted(path.name for path in (shell.folder / "state").iterdir()) == ["a.db", "a.db-keys"]


def test_a_program_can_read_what_was_made(shell: Shell) -> None:
    made = shell.json("create", *named("sales", "web"))
    assert made | {"key": ""} == {
        "team": "sales",
        "name": "web",
        "key": "",
        "prefix": made["key"][:10],
        "expires": None,
    }
    rotated = shell.json("rotate", *named("sales", "web"), "--overlap", "0s")
    assert rotated["key"] != made["key"]
    assert rotated["old_ends"] is not None
    assert shell.json("revoke", *named("sales", "web")) == {
        "team": "sales",
        "name": "web",
        "revoked": 1,
        "blocked": False,
    }
    assert shell.err == ""


def test_the_list_has_the_keys_of_the_config_and_those_of_the_database(shell: Shell) -> None:
    key = shell.keys("create", *named("sales", "web")).strip()
    lines = [line.split() for line in shell.keys("list").splitlines()]
    assert lines[0][:4] == ["team", "name", "key", "status"]
    assert lines[1] == ["search", "ci", "–", "active", "–", "–", "the", "config"]
    assert lines[2][:4] == ["sales", "web", f"{key[:10]}…", "active"]
    assert [row["name"] for row in shell.json("list", "--team", "sales")["keys"]] == ["web"]
    assert shell.json("list", "--team", "nobody") == {"keys": []}


def test_a_rotated_key_has_two_secrets_and_one_name(shell: Shell) -> None:
    shell.keys("create", *named("sales", "web"))
    out = shell.keys("rotate", *named("sales", "web"), "--overlap", "7d")
    assert out.startswith("sk-ws-")
    assert "has a new secret; the old one ends at" in shell.err
    old, new = shell.json("list", "--team", "sales")["keys"]
    assert (old["name"], new["name"], new["prefix"]) == ("web", "web", out[:10])
    assert old["expires"] is not None
    assert new["expires"] is None


def test_revoking_a_key_of_the_config_blocks_it_and_says_what_is_left_to_do(shell: Shell) -> None:
    assert shell.keys("revoke", *named("search", "ci")) == ""
    assert "so it is blocked. Now remove it from the config." in shell.err
    assert [row["status"] for row in shell.json("list")["keys"]] == ["blocked"]
    shell.keys("unblock", *named("search", "ci"))
    assert "no longer blocked" in shell.err
    assert [row["status"] for row in shell.json("list")["keys"]] == ["active"]
    assert shell.json("revoke", *named("search", "ci"))["blocked"] is True
    assert shell.json("unblock", *named("search", "ci"))["blocked"] is False


def test_a_key_whose_team_is_gone_can_still_be_revoked(shell: Shell) -> None:
    shell.keys("create", *named("sales", "web"))
    (shell.folder / "my.yaml").write_text(TEXT.replace("  sales: {}\n", ""))
    assert [row["status"] for row in shell.json("list")["keys"]] == ["active", "no team"]
    shell.keys("revoke", *named("sales", "web"))
    assert "is revoked" in shell.err
    shell.keys("revoke", *named("sales", "web"))
    assert "revoked or expired already" in shell.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", *named("saels", "web")), "the config has no team 'saels' (did you mean 'sales'?)"),
        (("create", *named("search", "ci")), "the config has a key 'ci' of this team already"),
        (("create", *named("sales", "new"), "--expires", "2020-01-01"), "has begun already"),
        (("create", *named("sales", "web")), "has a key 'web' already"),
        (("rotate", *named("search", "ci")), "this key stands in the config"),
        (("rotate", *named("sales", "wbe")), "no live key 'wbe'"),
        (("revoke", *named("sales", "wbe")), "has no key 'wbe' (did you mean 'web'?)"),
        (("revoke", *named("nobody", "web")), "has no key 'web' (it has none)"),
        (("unblock", *named("sales", "web")), "is not blocked"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_nearest_that_does(
    shell: Shell, arguments: tuple[str, ...], words: str
) -> None:
    shell.keys("create", *named("sales", "web"))
    assert shell.keys(*arguments, code=1) == ""
    assert words in shell.err
    assert len(shell.json("list")["keys"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("make",),
        ("create", "--team", "sales"),
        ("create", *named("sales", "a b")),
        ("create", *named("sales", "web"), "--expires", "tomorrow"),
        ("rotate", *named("sales", "web"), "--overlap", "7"),
        ("rotate", *named("sales", "web"), "--overlap", "2y"),
    ],
)
def test_misuse_is_told_from_refusal(shell: Shell, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["keys", *arguments])
    assert caught.value.code == 2


def test_a_config_with_faults_and_one_without_a_database_are_refused(shell: Shell) -> None:
    (shell.folder / "my.yaml").write_text(TEXT.replace("version: 1", "version: 2"))
    shell.keys("list", code=1)
    assert "my.yaml:1:10: version: expected 1" in shell.err
    (shell.folder / "my.yaml").write_text(TEXT.replace("sqlite:///state/a.db", "redis://:secret@127.0.0.1:1/0"))
    shell.keys("list", code=1)
    assert shell.err.startswith("keys: Redis can't be asked: no connection; check that it runs")
    assert "secret" not in shell.err
    (shell.folder / "my.yaml").write_text(TEXT.replace("state/a.db", "my.yaml"))
    shell.keys("list", code=1)
    assert "can't be used: file is not a database" in shell.err


def test_the_audit_has_who_ran_the_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    monkeypatch.setattr("proxy.cli.keys.getuser", lambda: "alice")
    shell.keys("create", *named("sales", "web"))
    monkeypatch.setattr("proxy.cli.keys.getuser", nobody)
    shell.keys("revoke", *named("sales", "web"))
    registry = SqliteRegistry(shell.folder / "state" / "a.db")
    assert [(row.actor, row.action) for row in registry.audit(9)] == [
        ("cli:unknown", "key.revoke"),
        ("cli:alice", "key.create"),
    ]
    registry.close()


def test_the_embedded_default_has_a_database_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "create", "--team", "default", "--name", "web"]) == 0
    assert capsys.readouterr().out.startswith("sk-ws-")
    assert (tmp_path / "waystation.db").exists()


@pytest.mark.integration
def test_the_same_commands_work_on_redis_and_name_no_password(shell: Shell, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        url = server.url.replace("redis://", "redis://default:unguessable@")
        server.client.config_set("requirepass", "unguessable")
        (shell.folder / "my.yaml").write_text(TEXT.replace("sqlite:///state/a.db", url))
        key = shell.keys("create", *named("sales", "web")).strip()
        assert key.startswith("sk-ws-")
        assert shell.err.startswith("Redis, waystation: the key 'web' is made for the team 'sales'")
        shell.keys("create", *named("sales", "web"), code=1)
        assert "has a key 'web' already" in shell.err
        assert shell.keys("rotate", *named("sales", "web"), "--overlap", "0s").strip() != key
        shell.keys("revoke", *named("sales", "web"))
        shell.keys("revoke", *named("search", "ci"))
        rows = shell.json("list")["keys"]
        assert [(row["name"], row["status"]) for row in rows] == [
            ("ci", "blocked"),
            ("web", "revoked"),
            ("web", "revoked"),
        ]
        assert "unguessable" not in shell.err
