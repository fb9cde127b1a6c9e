"""The books of the running gateway: what clients were given is in them, once, whatever happens to the process."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from proxy.state import Span, SqliteReports, Sums
from tests.fakes import sse_chunks
from tests.integration.gateway import ADMIN_KEY, KEY, PROMPT, SEARCH_KEY, chat_body, running_gateway, until
from tests.integration.load import Told, storm
from tests.server import Server, ask, serving, wait_until
from tests.upstream import ScriptedUpstream, hang, play, reply_json, stream

pytestmark = pytest.mark.integration

#: Without a bound, an answer of the simulated provider to the tests' prompt costs 99,000 nano-dollars at these prices.
CONFIG = f"""\
version: 1
server: {{listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", drain_delay: 0s, drain: 2s}}
accounting: {{tag_keys: [env]}}
providers:
  sim: {{kind: demo, profile: fast, faults: {{first_token: 0ms, per_token: 0ms}}}}
models:
  sim: {{targets: [{{provider: sim, model: sim-1, price_usd_per_mtok: {{input: 1, output: 2}}}}]}}
  free: {{targets: [{{provider: sim, model: sim-2}}]}}
teams:
  platform: {{cost_center: "4711", keys: [{{name: ci, key: "{KEY}"}}], quotas: [QUOTA]}}
  search: {{keys: [{{name: web, key: "{SEARCH_KEY}"}}]}}
admin: {{keys: [{{name: ops, key: "{ADMIN_KEY}", role: admin}}]}}
"""
KILLS = 24


def config(quota: str = "{usd: 1000, per: month}") -> str:
    return CONFIG.replace("QUOTA", quota)


@contextmanager
def running(folder: Path, quota: str = "{usd: 1000, per: month}") -> Iterator[Server]:
    with serving(folder, config(quota)) as server:
        yield server


def lately() -> Span:
    today = datetime.now(UTC).date()
    return Span(today - timedelta(days=2), date(today.year + 1, 12, 31))


def books(folder: Path) -> SqliteReports:
    return SqliteReports(folder / "waystation.db")


def total(folder: Path) -> Sums:
    found = books(folder).sums(lately())
    return found[0].sums if found else Sums()


def quota_of(server: Server, key: str = KEY) -> dict[str, Any]:
    reply = ask(f"{server.url}/v1/quota", headers={"Authorization": f"Bearer {key}"})
    return dict(reply.json()["quotas"][0])


def nusd(usd: str) -> int:
    whole, _, part = usd.partition(".")
    return int(whole) * 10**9 + int(part)


def capped(number: int) -> bytes:
    """A call whose reservation is small."""
    body = orjson.loads(chat_body("sim", stream=number % 2 == 1))
    return orjson.dumps(body | {"max_tokens": 60})


async def test_a_quota_of_money_is_never_exceeded_by_64_clients_and_10_000_calls(tmp_path: Path) -> None:
    with running(tmp_path, "{usd: 0.5, per: month}") as server:
        told = await storm(server.address, clients=64, calls=10_000, model="sim", body=capped)
        assert len(told.complete) + sum(told.refused.values()) == 10_000
        assert set(told.refused) == {429}
        quota = await asyncio.to_thread(quota_of, server)
        used, reservation = nusd(quota["used"]), len(capped(0)) * 1000 + 60 * 2000
        assert 500_000_000 - reservation < used <= 500_000_000
        assert nusd(quota["reserved"]) == 0
        assert "false" in told.codes  # a retry does not help
        wait_until(lambda: total(tmp_path).calls == 10_000)
        sums = total(tmp_path)
        assert sums.cost_nusd == used
        assert sums.attempts == len(told.complete)
        counted = {
            name: value
            for name, value in server.metrics().items()
            if name.startswith(("llm_cost_usd_total", "llm_requests_total"))
        }
        costs = [value for name, value in counted.items() if name.startswith("llm_cost")]
        assert round(sum(costs) * 10**9) == used
        check = ask(f"{server.admin_url}/admin/v1/quota", headers={"Authorization": f"Bearer {ADMIN_KEY}"}).json()[
            "check"
        ]
        assert check["agree"], check
        assert (check["books"]["requests"], nusd(check["counters"]["cost_usd"])) == (10_000, used)
        assert sum(value for name, value in counted.items() if name.startswith("llm_requests")) == 10_000
    assert books(tmp_path).drift(lately()) == []


async def storm_and_kill(server: Server, after_s: float) -> Told:
    storming = asyncio.create_task(storm(server.address, clients=16, calls=100_000, model="sim"))
    await asyncio.sleep(after_s)
    server.process.kill()
    return await storming


async def test_kill_9_loses_no_call_that_a_client_has_whole_and_counts_none_twice(tmp_path: Path) -> None:
    rng, told = Random(9), list[str]()
    for _ in range(KILLS):
        with running(tmp_path) as server:
            told += (await storm_and_kill(server, rng.uniform(0.05, 0.5))).complete
    assert len(set(told)) == len(told) > 10 * KILLS
    with running(tmp_path) as server:
        quota = await asyncio.to_thread(quota_of, server)
        sums = total(tmp_path)
        assert nusd(quota["used"]) == sums.cost_nusd  # counters begin where the books end
        reports = books(tmp_path)
        missing = [one for one in told if (found := reports.call(one)) is None or found.is_orphan]
        assert missing == []
        by_error = {line.group[0]: line.sums for line in reports.sums(lately(), ("error",))}
        # Calls that were under way are there, too, with all that they may have cost.
        assert set(by_error) <= {"", "orphaned", "client_gone"}
        assert by_error["orphaned"].cost_nusd > 0
        assert by_error[""].calls >= len(told)
        assert by_error[""].cost_nusd == by_error[""].calls * 99_000
        assert reports.drift(lately()) == []


async def test_calls_under_way_when_the_process_dies_are_booked_as_orphans_at_the_next_start(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        gateway.play(hang())
        calls = [asyncio.create_task(gateway.post()) for _ in range(5)]
        await until(lambda: gateway.asked == 5)
        gateway.server.process.kill()
        await asyncio.gather(*calls, return_exceptions=True)
        with serving(tmp_path, gateway.config):
            [line] = books(tmp_path).sums(lately(), ("team", "error", "metering"))
    assert (line.group, line.sums.calls) == (("platform", "orphaned", "unmetered"), 5)


async def test_a_stream_that_its_client_leaves_is_booked_with_what_had_come(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        steps = stream(sse_chunks(*(f"word{number} " for number in range(50)))).steps
        gateway.play(play(*steps[:-3], 30.0))
        async with gateway.async_client(max_retries=0) as client:
            answer = await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": PROMPT}], stream=True
            )
            async for chunk in answer:
                if "word40" in str(chunk.choices[0].delta.content):
                    break
            await answer.close()
        request_id = await asyncio.to_thread(_only_id, gateway.server)
        await until(lambda: books(tmp_path).call(request_id) is not None)
        found = books(tmp_path).call(request_id)
    assert found is not None
    assert (found.status, found.error) == (499, "client_gone")
    [attempt] = found.attempts
    assert attempt.metering == "estimated"
    assert 40 <= attempt.visible_tokens <= 150
    assert attempt.credential_id == "k1"


def _only_id(server: Server) -> str:
    return str(server.log.wait_for(lambda event: event["event"] == "call")["id"])


async def test_what_is_said_of_a_call_is_in_the_books_to_the_token(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        headers = {"Authorization": f"Bearer {KEY}", "x-waystation-tags": "env=prod,other=1", "x-request-id": "mine-1"}
        body = chat_body("sim")
        reply = await asyncio.to_thread(
            lambda: ask(f"{server.base_url}/chat/completions", method="POST", headers=headers, body=body)
        )
        usage = reply.json()["usage"]
        wait_until(lambda: books(tmp_path).call("mine-1", "platform") is not None)
        found = books(tmp_path).call("mine-1", "platform")
        assert found is not None
        assert books(tmp_path).call("mine-1", "search") is None
        [attempt] = found.attempts
        assert (attempt.uncached_tokens, attempt.visible_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert f"{attempt.cost_nusd / 10**9:.9f}" == reply.headers["x-waystation-cost-usd"]
        assert (attempt.metering, attempt.role, attempt.target) == ("reported", "first", "sim/sim-1")
        assert attempt.upstream_id == reply.json()["id"]
        assert attempt.price_version.startswith("config:")
        assert (found.payer.cost_center, found.payer.tags) == ("4711", {"env": "prod"})


async def test_a_spent_quota_is_raised_by_a_grant_from_the_next_call_on(tmp_path: Path) -> None:
    with running(tmp_path, "{usd: 0.0003, per: day}") as server:
        told = await storm(server.address, clients=1, calls=5, model="sim", body=capped)
        assert (len(told.complete), told.refused) == (1, {429: 4})
        until_day = (datetime.now(UTC).date() + timedelta(days=3)).isoformat()
        grant = {"team": "platform", "quota": "usd per day", "usd": 0.001, "until": until_day}
        reply = ask(
            f"{server.admin_url}/admin/v1/grants",
            method="POST",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            body=orjson.dumps(grant),
        )
        assert reply.status == 200, reply.body
        told = await storm(server.address, clients=1, calls=2, model="sim", body=capped)
        assert len(told.complete) == 2
        assert quota_of(server)["granted"] == "0.001000000"


async def test_a_refused_call_is_booked_with_its_reason_and_a_free_model_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "{usd: 0.0001, per: day}") as server:
        told = await storm(server.address, clients=1, calls=3, model="sim")
        assert told.refused == {429: 3}
        told = await storm(server.address, clients=1, calls=3, model="free")
        assert len(told.complete) == 3
        wait_until(lambda: total(tmp_path).calls == 6)
        by_error = {line.group: line.sums.calls for line in books(tmp_path).sums(lately(), ("model", "error"))}
    assert by_error == {("sim", "insufficient_quota:usd per day"): 3, ("free", ""): 3}


async def test_a_disk_that_takes_nothing_for_a_while_holds_up_no_call_and_loses_none(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        told = await storm(server.address, clients=4, calls=20, model="sim")
        _limit_files(server, 1)
        told = await storm(server.address, clients=4, calls=200, model="sim")
        assert len(told.complete) == 200
        assert server.metric('llm_books_entries{state="unwritten"}') >= 200
        log = server.log.wait_for(lambda event: "can't be written" in str(event.get("message")))
        assert "entries are kept in memory" in log["message"]
        _limit_files(server, resource.RLIM_INFINITY)
        wait_until(lambda: total(tmp_path).calls == 220)
        assert server.metric('llm_books_entries{state="unwritten"}') == 0
        assert nusd((await asyncio.to_thread(quota_of, server))["used"]) == total(tmp_path).cost_nusd
        assert books(tmp_path).drift(lately()) == []


def _limit_files(server: Server, size_bytes: int) -> None:
    """No file that it writes may be larger from now on: what is refused is refused as by a disk that is full."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def test_the_books_have_one_owner_at_a_time_and_a_second_server_is_told(tmp_path: Path) -> None:
    with running(tmp_path):
        second = Server(tmp_path / "waystation.yaml", {})
        assert second.wait() == 1
        assert "is in use by another gateway" in second.log.text
        assert "Traceback" not in second.log.text


async def test_a_webhook_is_told_of_a_quota_that_runs_out(tmp_path: Path) -> None:
    async with ScriptedUpstream(reply_json({})) as hook:
        text = config("{usd: 0.0003, per: day, warn_at: [20%]}") + f'notify: {{webhook: "{hook.url}/hook?token=x"}}\n'
        with serving(tmp_path, text) as server:
            await storm(server.address, clients=1, calls=4, model="sim", body=capped)
            await until(lambda: len(hook.requests) == 2)
            told = [request.json() for request in hook.requests]
            assert [(one["type"], one["team"], one["quota"]) for one in told] == [
                ("quota_warning", "platform", "usd per day"),
                ("quota_spent", "platform", "usd per day"),
            ]
            assert hook.requests[0].target == "/hook?token=x"
            assert "token=x" not in server.log.text
            levels = [name for name in server.metrics() if name.startswith("llm_quota_warnings_total")]
            assert len(levels) == 2
