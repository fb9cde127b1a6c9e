"""A config that changes under a running gateway: nobody notices but those who wanted the change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import openai
import pytest

from tests.fakes import completion, sse_chunks
from tests.integration.gateway import ANSWER, KEY, SEARCH_KEY, Gateway, chat_body, config_for, running_gateway, until
from tests.integration.raw_client import connect, request_bytes
from tests.server import Server, serving
from tests.upstream import ScriptedUpstream, reply_json, stream

pytestmark = pytest.mark.integration

NEW_MODEL = """\
  brand-new:
    targets: [{provider: main, model: up-new}]
teams:
"""


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncGenerator[Gateway, None]:
    """A gateway of the test's own."""
    async with running_gateway(tmp_path) as gateway:
        yield gateway


async def _status(gateway: Gateway, model: str, key: str = KEY) -> int:
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes(headers={"Authorization": f"Bearer {key}"}, body=chat_body(model)))
        return (await client.read_reply()).status


def _extended(gateway: Gateway) -> str:
    return gateway.config.replace("teams:\n", NEW_MODEL, 1)


async def test_a_changed_file_is_live_at_once(fresh: Gateway) -> None:
    assert await _status(fresh, "brand-new") == 404
    before = fresh.server.config_hash()
    await asyncio.to_thread(fresh.server.reload, _extended(fresh))
    assert await _status(fresh, "brand-new") == 200
    assert fresh.server.config_hash() != before
    metrics = fresh.server.metrics()
    assert metrics['llm_config_reloads_total{result="ok"}'] == 1
    assert metrics[f'llm_config_info{{config_hash="{fresh.server.config_hash()}"}}'] == 1
    assert not any(before in sample for sample in metrics)


async def test_sighup_reloads(fresh: Gateway, tmp_path: Path) -> None:
    """The file is reached through a link from another directory, which no watcher sees change."""
    hidden = tmp_path / "elsewhere" / "real.yaml"
    hidden.parent.mkdir()
    hidden.write_text(fresh.config)
    path = tmp_path / "watched" / "waystation.yaml"
    path.parent.mkdir()
    path.symlink_to(hidden)
    with serving(path.parent, "") as server:
        before = server.config_hash()
        hidden.write_text(_extended(fresh))
        server.hang_up()
        await until(lambda: server.config_hash() != before)
        assert server.process.poll() is None


async def test_a_hangup_without_a_change_changes_nothing(fresh: Gateway) -> None:
    before = fresh.server.metrics()
    fresh.server.hang_up()
    await asyncio.sleep(0.3)
    assert fresh.server.metric('llm_config_reloads_total{result="ok"}') == 0
    assert before['llm_config_reloads_total{result="rejected"}'] == 0
    assert await _status(fresh, "chat") == 200


async def test_a_call_in_flight_finishes_on_the_old_world(fresh: Gateway) -> None:
    fresh.play(stream(sse_chunks(*"abcdefghij"), delay_s=0.1))
    async with fresh.async_client() as client:
        events = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "x"}], stream=True
        )
        pieces = [(await anext(events)).choices[0].delta.content]
        # In the next world there is neither that model nor that provider, nor that key.
        gone = fresh.config.replace("  chat:\n", "  other:\n").replace("[gpt-4o-mini, org/chat-v1]", "[]")
        gone = gone.replace("models: [chat, falls-back]", "models: [falls-back]").replace(KEY, "sk-way-platform-next")
        gone = gone.replace(
            f'main: {{kind: openai, base_url: "{fresh.main.url}', f'main: {{kind: openai, base_url: "{fresh.spare.url}'
        )
        await asyncio.to_thread(fresh.server.reload, gone)
        assert await _status(fresh, "chat") == 401
        pieces += [event.choices[0].delta.content async for event in events]
    assert "".join(piece or "" for piece in pieces) == "abcdefghij"
    await fresh.main.all_closed(within_s=5)  # the provider that nobody knows any more is let go


async def test_connections_of_an_unchanged_provider_survive(fresh: Gateway) -> None:
    assert await _status(fresh, "chat") == 200
    await asyncio.to_thread(fresh.server.reload, fresh.config.replace("max_body: 20MB", "max_body: 10MB"))
    assert await _status(fresh, "chat") == 200
    assert len(fresh.main.requests) == 2
    assert len(fresh.main.links) == 1
    assert fresh.main.links[0].closed_at is None


async def test_connections_of_a_changed_provider_do_not(fresh: Gateway) -> None:
    assert await _status(fresh, "chat") == 200
    changed = fresh.config.replace('api_key: "sk-provider-3fa2c9d1"', 'api_key: "sk-provider-next"')
    await asyncio.to_thread(fresh.server.reload, changed)
    assert await _status(fresh, "chat") == 200
    assert len(fresh.main.links) == 2
    assert fresh.main.requests[1].header("authorization") == "Bearer sk-provider-next"
    await until(lambda: fresh.main.links[0].closed_at is not None)


async def test_a_broken_file_keeps_the_old_world_and_says_where(fresh: Gateway) -> None:
    before = fresh.server.config_hash()
    broken = fresh.config.replace("max_body: 20MB", "max_bodi: 20MB").replace("profile: fast", "profile: warp")
    fresh.server.write_config(broken)
    await until(lambda: fresh.server.metric('llm_config_reloads_total{result="rejected"}') == 1)
    assert fresh.server.config_hash() == before
    assert await _status(fresh, "chat") == 200
    event = await asyncio.to_thread(fresh.server.log.wait_for, lambda event: "rejected" in str(event.get("message")))
    assert event["event"] == "error"
    lines = broken.splitlines()
    for text in ("max_bodi", "profile: warp"):
        line = next(number for number, content in enumerate(lines, 1) if text in content)
        assert f"{fresh.server.config}:{line}:" in event["message"], event["message"]
    assert "max_body" in event["message"]  # did you mean


async def test_a_file_that_vanishes_changes_nothing(fresh: Gateway) -> None:
    before = fresh.server.config_hash()
    fresh.server.config.unlink()
    fresh.server.hang_up()
    await until(lambda: fresh.server.metric('llm_config_reloads_total{result="rejected"}') >= 1)
    assert await _status(fresh, "chat") == 200
    await asyncio.to_thread(fresh.server.reload, _extended(fresh))
    assert fresh.server.config_hash() != before


async def test_a_broken_file_that_is_mended_is_taken(fresh: Gateway) -> None:
    fresh.server.write_config("version: 1\nproviders: [\n")
    await until(lambda: fresh.server.metric('llm_config_reloads_total{result="rejected"}') == 1)
    await asyncio.to_thread(fresh.server.reload, _extended(fresh))
    assert await _status(fresh, "brand-new") == 200


async def test_a_revoked_key_is_refused_on_a_connection_that_is_still_open(fresh: Gateway) -> None:
    request = request_bytes(headers={"Authorization": f"Bearer {SEARCH_KEY}"}, body=chat_body())
    async with connect(fresh.server.address) as client:
        await client.send(request)
        assert (await client.read_reply()).status == 200
        await asyncio.to_thread(fresh.server.reload, fresh.config.replace(SEARCH_KEY, "sk-way-search-next"))
        await client.send(request)
        assert (await client.read_reply()).status == 401


async def test_a_swapped_link_is_seen_as_kubernetes_swaps_it(tmp_path: Path) -> None:
    """A mounted ConfigMap: FILE -> ..data/FILE, ..data -> ..<date>; an update renames a new link over ..data."""

    def lay(version: str, text: str) -> None:
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "waystation.yaml").write_text(text)
        aside = tmp_path / "..data_tmp"
        aside.symlink_to(f"..{version}")
        aside.replace(tmp_path / "..data")

    async with ScriptedUpstream(reply_json(completion(ANSWER))) as upstream:
        config = config_for(upstream.url, upstream.url)
        lay("2026_11_01", config)
        (tmp_path / "waystation.yaml").symlink_to("..data/waystation.yaml")
        with serving(tmp_path, "") as server:
            before = server.config_hash()
            lay("2026_11_02", config.replace("teams:\n", NEW_MODEL, 1))
            await until(lambda: server.config_hash() != before)
            gateway = Gateway(server, upstream, upstream)
            assert await _status(gateway, "brand-new") == 200


async def test_no_call_fails_while_the_config_changes_again_and_again(fresh: Gateway) -> None:
    stopped = asyncio.Event()

    async def keep_asking() -> int:
        count = 0
        async with fresh.async_client(max_retries=0) as client:
            while not stopped.is_set():
                answer = await client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}])
                assert answer.choices[0].message.content == ANSWER
                count += 1
        return count

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    try:
        for size in (11, 12, 13):
            text = fresh.config.replace("max_body: 20MB", f"max_body: {size}MB")
            await asyncio.to_thread(_reload_or_fail, fresh.server, text)
    finally:
        stopped.set()
    try:
        counts = await asyncio.gather(*asking)
    except openai.APIError as error:
        pytest.fail(f"a call failed during a reload: {error}")
    assert min(counts) > 0


def _reload_or_fail(server: Server, text: str) -> None:
    server.reload(text)
