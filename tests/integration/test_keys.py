"""Client keys that are made, ended and blocked while a gateway runs, by commands beside it and by operators."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.keyring import new_key
from proxy.state import Author, SqliteRegistry
from tests.fakes import sse_chunks
from tests.integration.gateway import ADMIN_KEY, KEY, SEARCH_KEY, VIEWER_KEY, Gateway, running_gateway
from tests.integration.raw_client import RawReply, connect, request_bytes
from tests.server import Reply, Server, ask, serving, starting
from tests.upstream import stream

pytestmark = pytest.mark.integration

DOCUMENT = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
CONFIG = f"""\
version: 1
server: {{listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
providers: {{p: {{kind: demo, profile: fast}}}}
models: {{chat: {{targets: [{{provider: p, model: m}}]}}}}
teams:
  search:
    keys: [{{name: ci, key: "{SEARCH_KEY}"}}]
    quotas: [{{usd: 500, per: month}}]
admin:
  keys: [{{name: ops, key: "{ADMIN_KEY}", role: admin}}, {{name: finance, key: "{VIEWER_KEY}", role: viewer}}]
"""


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncGenerator[Gateway, None]:
    """A gateway of the test's own."""
    async with running_gateway(tmp_path) as gateway:
        yield gateway


async def _keys(gateway: Gateway, *arguments: str) -> str:
    """Standard output of `waystation keys`, run beside the gateway."""
    return await asyncio.to_thread(run_keys, gateway.server.config, *arguments)


def run_keys(config: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "proxy.cli", "keys", *arguments, "--config", config.name]
    done = subprocess.run(command, cwd=config.parent, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def _ask(gateway: Gateway, key: str) -> RawReply:
    return await gateway.post(headers={"Authorization": f"Bearer {key}"})


async def _message(gateway: Gateway, key: str) -> str:
    """Why the key is refused."""
    reply = await _ask(gateway, key)
    assert reply.status == 401
    error = orjson.loads(reply.body)["error"]
    assert error["code"] == "invalid_api_key"
    return str(error["message"])


async def _operate(gateway: Gateway, path: str, body: dict[str, Any] | None = None) -> Reply:
    return await asyncio.to_thread(operate, gateway.server, path, body)


def operate(server: Server, path: str, body: dict[str, Any] | None = None) -> Reply:
    return ask(
        f"{server.admin_url}/admin/v1/{path}",
        method="GET" if body is None else "POST",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        body=None if body is None else orjson.dumps(body),
    )


async def test_a_key_works_from_the_request_after_it_was_made_until_the_one_after_it_was_revoked(
    fresh: Gateway,
) -> None:
    assert (await _ask(fresh, "sk-ws-" + "a" * 43)).status == 401
    key = await _keys(fresh, "create", "--team", "search", "--name", "made")
    other = await _keys(fresh, "create", "--team", "search", "--name", "other")
    assert [(await _ask(fresh, one)).status for one in (key, other)] == [200, 200]
    await _keys(fresh, "revoke", "--team", "search", "--name", "made")
    assert "revoked" in await _message(fresh, key)
    assert [(await _ask(fresh, one)).status for one in (other, SEARCH_KEY)] == [200, 200]


async def test_a_revoked_key_is_refused_on_a_connection_that_is_open_and_its_call_under_way_finishes(
    fresh: Gateway,
) -> None:
    key = await _keys(fresh, "create", "--team", "platform", "--name", "made")
    fresh.play(stream(sse_chunks(*"abcdefghij"), delay_s=0.1))
    async with fresh.async_client(key) as client, connect(fresh.server.address) as raw:
        request = request_bytes("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        await raw.send(request)
        assert (await raw.read_reply()).status == 200
        events = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "x"}], stream=True
        )
        pieces = [(await anext(events)).choices[0].delta.content]
        await asyncio.to_thread(_revoke_here, fresh.server.config.with_name("waystation.db"))
        await raw.send(request)
        assert (await raw.read_reply()).status == 401
        pieces += [event.choices[0].delta.content async for event in events]
    assert "".join(piece or "" for piece in pieces) == "abcdefghij"


def _revoke_here(path: Path) -> None:
    """As the command does, and faster than a stream ends."""
    with closing(SqliteRegistry(path)) as registry:
        registry.revoke_key("platform", "made", Author("cli:test", 1_795_244_400_000))


async def test_a_rotated_key_has_two_secrets_for_the_overlap(fresh: Gateway) -> None:
    first = await _keys(fresh, "create", "--team", "search", "--name", "made")
    second = await _keys(fresh, "rotate", "--team", "search", "--name", "made", "--overlap", "1h")
    assert [(await _ask(fresh, key)).status for key in (first, second)] == [200, 200]
    third = await _keys(fresh, "rotate", "--team", "search", "--name", "made", "--overlap", "0s")
    assert "expired" in await _message(fresh, first)
    assert "expired" in await _message(fresh, second)
    assert (await _ask(fresh, third)).status == 200


async def test_a_team_that_leaves_the_config_loses_its_keys_access_and_not_its_history(fresh: Gateway) -> None:
    key = await _keys(fresh, "create", "--team", "search", "--name", "made")
    assert (await _ask(fresh, key)).status == 200
    config, rest = fresh.config.split("  search:\n")
    without = config + rest[rest.index("admin:") :]
    await asyncio.to_thread(fresh.server.reload, without)
    assert "team is no longer served" in await _message(fresh, key)
    rows = orjson.loads((await _operate(fresh, "keys")).body)["keys"]
    assert [(row["team"], row["name"], row["status"]) for row in rows if row["team"] == "search"] == [
        ("search", "made", "no team")
    ]
    await asyncio.to_thread(fresh.server.reload, fresh.config)
    assert (await _ask(fresh, key)).status == 200


async def test_a_key_of_the_config_is_blocked_by_an_operator_or_a_command_and_let_in_again(fresh: Gateway) -> None:
    named = {"team": "platform", "name": "ci"}
    assert (await _ask(fresh, KEY)).status == 200
    assert (await _operate(fresh, "keys/block", named)).status == 200
    assert "blocked" in await _message(fresh, KEY)
    assert (await _ask(fresh, SEARCH_KEY)).status == 200
    await _keys(fresh, "unblock", "--team", "platform", "--name", "ci")
    assert (await _ask(fresh, KEY)).status == 200
    await _keys(fresh, "revoke", "--team", "platform", "--name", "ci")
    assert "blocked" in await _message(fresh, KEY)
    assert (await _operate(fresh, "keys/unblock", named)).status == 200
    assert (await _ask(fresh, KEY)).status == 200
    rows = orjson.loads((await _operate(fresh, "audit")).body)["audit"]
    assert [row["action"] for row in rows] == ["key.unblock", "key.block", "key.unblock", "key.block"]
    assert rows[0]["actor"] == "admin:ops"
    assert rows[1]["actor"].startswith("cli:")


async def test_keys_outlive_the_process_and_are_nowhere_in_the_clear(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as server:
        key = await asyncio.to_thread(run_keys, server.config, "create", "--team", "search", "--name", "made")
    # Killed, so that nothing was tidied up.
    with serving(tmp_path, CONFIG) as server:
        assert _status(server, key) == 200
        for path in filter(Path.is_file, tmp_path.rglob("*")):
            data = path.read_bytes()
            assert key.encode() not in data, path
            assert sha256(key.encode()).hexdigest().encode() not in data, path
        assert key not in server.log.text + server.stdout.text
        server.interrupt()
        assert server.wait() == 0
    assert {"waystation.yaml", "waystation.db", "waystation.db-keys"} <= {path.name for path in tmp_path.iterdir()}


def _status(server: Server, key: str) -> int:
    return ask(f"{server.base_url}/models", headers={"Authorization": f"Bearer {key}"}).status


def test_no_request_fails_while_keys_are_made_and_ended_again_and_again(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as server, closing(SqliteRegistry(tmp_path / "waystation.db")) as registry:
        for at_ms in range(1, 60):
            key, fingerprint = new_key()
            registry.create_key("search", "made", fingerprint, None, Author("cli:test", at_ms))
            assert (_status(server, key), _status(server, SEARCH_KEY)) == (200, 200)
            registry.revoke_key("search", "made", Author("cli:test", at_ms))
            assert (_status(server, key), _status(server, SEARCH_KEY)) == (401, 200)
        assert not server.log.events() or all(event["event"] != "error" for event in server.log.events())


@pytest.mark.parametrize(("is_folder", "reason"), [(True, "can't be opened"), (False, "file is not a database")])
def test_a_database_that_cannot_be_opened_ends_the_start_with_its_reason(
    tmp_path: Path, is_folder: bool, reason: str
) -> None:
    path = tmp_path / "waystation.db"
    if is_folder:
        path.mkdir()
    else:
        path.write_text("This is no database, but it is long enough to be looked at." * 20)
    with starting(tmp_path, CONFIG) as server:
        assert server.wait(30) == 1
        assert "waystation: the database waystation.db can't be" in server.log.text
        assert reason in server.log.text
        assert "Traceback" not in server.log.text


def commands(first_word: str) -> list[str]:
    """The lines of the document's shell blocks that begin so."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(first_word)]


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, CONFIG, name="my.yaml") as server:
        yield server


def test_the_commands_of_the_document_do_what_it_says(documented: Server, tmp_path: Path) -> None:
    printed = {}
    for line in commands("waystation"):
        words = shlex.split(line)
        done = subprocess.run(
            [sys.executable, "-m", "proxy.cli", *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        printed[words[2]] = done.stdout.strip()
        if words[2] == "rotate":
            assert [_status(documented, printed[made]) for made in ("create", "rotate")] == [200, 200]
    assert list(printed) == ["create", "list", "rotate", "revoke"]
    assert "active" in printed["list"]
    assert [_status(documented, printed[made]) for made in ("create", "rotate")] == [401, 401]


def test_the_curl_lines_of_the_document_are_answered(documented: Server) -> None:
    replies = {}
    for line in commands("curl"):
        words = shlex.split(line.replace("$WAYSTATION_ADMIN_KEY", ADMIN_KEY))
        url = next(word for word in words if word.startswith("http"))
        body = words[words.index("-d") + 1].encode() if "-d" in words else None
        name, _, value = words[words.index("-H") + 1].partition(": ")
        reply = ask(
            url.replace("http://127.0.0.1:9090", documented.admin_url),
            method="GET" if body is None else "POST",
            headers={name: value, "Content-Type": "application/x-www-form-urlencoded"},
            body=body,
        )
        assert reply.status == 200, reply.body
        replies[f"{'POST' if body else 'GET'} {url.partition('/admin/v1/')[2]}"] = reply.json()
    assert len(replies) == 7
    assert replies["GET keys"]["keys"][0]["name"] == "ci"
    assert replies["GET grants"]["grants"][0]["note"] == "the launch"
    assert [row["action"] for row in replies["GET audit?limit=20"]["audit"]] == [
        "grant.withdraw",
        "grant.add",
        "key.unblock",
        "key.block",
    ]
