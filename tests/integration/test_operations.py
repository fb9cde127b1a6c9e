"""What operators see: metrics, the log, the admin endpoints; and a provider that dies under their eyes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import completion, sse_chunks
from tests.integration.gateway import (
    ADMIN_KEY,
    ANSWER,
    KEY,
    SEARCH_KEY,
    VIEWER_KEY,
    Gateway,
    running_gateway,
    until,
)
from tests.server import Reply, ask
from tests.upstream import reply_json, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

DOCS = Path(__file__).parents[2] / "docs" / "routing.md"
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def _admin(gateway: Gateway, path: str, key: str | None = None, method: str = "GET") -> Reply:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return ask(f"{gateway.server.admin_url}{path}", method=method, headers=headers)


async def test_a_call_is_counted_under_the_names_of_the_config(gateway: Gateway) -> None:
    labels = 'model="chat",provider="main",status="200",team="platform"'
    before = gateway.server.metrics()
    gateway.play(reply_json(completion(ANSWER, usage=(11, 7))))
    await gateway.post("gpt-4o-mini")
    await until(lambda: _grown(gateway, before, f"llm_requests_total{{{labels}}}") == 1)
    tokens = 'model="chat",provider="main",team="platform"'
    assert _grown(gateway, before, f'llm_tokens_used_total{{{tokens},type="input"}}') == 11
    assert _grown(gateway, before, f'llm_tokens_used_total{{{tokens},type="output"}}') == 7
    assert _grown(gateway, before, 'llm_request_duration_seconds_count{model="chat",provider="main"}') == 1
    assert _grown(gateway, before, "llm_overhead_seconds_count") == 1
    assert gateway.server.metric("llm_active_requests") == 0


async def test_a_stream_is_counted_with_its_first_token_and_its_tokens(gateway: Gateway) -> None:
    before = gateway.server.metrics()
    gateway.play(stream(sse_chunks("a", usage=(13, 3)), first_s=0.15))
    await gateway.post(streams=True)
    first_token = 'llm_time_to_first_token_seconds_{}{{model="chat",provider="main"}}'
    await until(lambda: _grown(gateway, before, first_token.format("count")) == 1)
    assert 0.1 < _grown(gateway, before, first_token.format("sum")) < 0.5
    assert _grown(gateway, before, "llm_streaming_requests_total") == 1
    tokens = 'llm_tokens_used_total{model="chat",provider="main",team="platform",type="input"}'
    assert _grown(gateway, before, tokens) == 13
    assert _grown(gateway, before, "llm_overhead_seconds_sum") < 0.1


async def test_failovers_are_counted_by_provider_and_kind(gateway: Gateway) -> None:
    before = gateway.server.metrics()
    gateway.play(reply_json({}, 500), reply_json(completion(ANSWER)))
    assert (await gateway.post("pair")).status == 200
    sample = 'llm_failovers_total{kind="upstream_error",provider="main"}'
    await until(lambda: _grown(gateway, before, sample) == 1)


async def test_labels_come_from_the_config_never_from_callers(gateway: Gateway) -> None:
    for index in range(20):
        await gateway.post(f"invented-{index}", headers={"X-Request-Id": f"invented-{index}"})
        await gateway.post(headers={"Authorization": f"Bearer invented-{index}"})
        await asyncio.to_thread(ask, f"{gateway.server.url}/invented-{index}")
    samples = gateway.server.metrics()
    assert not any("invented" in sample for sample in samples)
    seen: dict[str, set[str]] = {}
    for sample in samples:
        for name, value in _LABEL.findall(sample):
            seen.setdefault(name, set()).add(value)
    assert seen["team"] <= {"platform", "search", "other"}
    assert seen["provider"] <= {"main", "spare", "main-httpx", "nowhere", "simulated", "other"}
    assert seen["model"] <= {"chat", "chat-httpx", "pair", "sim", "refused", "other"}


async def test_metrics_are_on_the_admin_address_only(gateway: Gateway) -> None:
    metrics = _admin(gateway, "/metrics")
    assert metrics.status == 200
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    elsewhere = ask(f"{gateway.server.url}/metrics")
    assert elsewhere.status == 404
    assert elsewhere.json()["error"]["code"] == "not_found"
    assert _admin(gateway, "/v1/models", KEY).status == 404
    assert _admin(gateway, "/v1/chat/completions", KEY, "POST").status == 404
    assert _admin(gateway, "/readyz").status == 200


@pytest.mark.parametrize("key", [None, KEY, "sk-wrong", SEARCH_KEY])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/config"), ("POST", "/config/check"), ("POST", "/config/reload")]
)
async def test_client_keys_open_no_admin_endpoint(gateway: Gateway, key: str | None, method: str, path: str) -> None:
    reply = _admin(gateway, f"/admin/v1{path}", key, method)
    assert reply.status == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("key", [ADMIN_KEY, VIEWER_KEY])
async def test_admin_keys_are_no_client_keys(gateway: Gateway, key: str) -> None:
    assert (await gateway.post(headers={"Authorization": f"Bearer {key}"})).status == 401
    assert gateway.asked == 0


async def test_a_viewer_looks_and_does_not_touch(gateway: Gateway) -> None:
    shown = _admin(gateway, "/admin/v1/config", VIEWER_KEY)
    assert shown.json()["config_hash"] == gateway.server.config_hash()
    report = _admin(gateway, "/admin/v1/config/check", VIEWER_KEY, "POST").json()
    assert report["ok"] is True
    assert all("no price is known" in warning for warning in report["warnings"])
    refused = _admin(gateway, "/admin/v1/config/reload", VIEWER_KEY, "POST")
    assert refused.status == 403
    assert refused.json()["error"]["code"] == "admin_role_required"


async def test_an_admin_reloads_and_is_audited(gateway: Gateway) -> None:
    reply = _admin(gateway, "/admin/v1/config/reload", ADMIN_KEY, "POST")
    assert reply.json() == {"ok": True, "changed": False, "config_hash": gateway.server.config_hash()}
    event = await asyncio.to_thread(gateway.server.log.wait_for, lambda event: "audit" in str(event.get("message")), 2)
    assert "'ops'" in event["message"]


async def test_the_admin_method_matters(gateway: Gateway) -> None:
    reply = _admin(gateway, "/admin/v1/config/reload", ADMIN_KEY, "GET")
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"


async def test_check_names_the_faults_of_the_file_as_it_stands(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as own:
        own.server.write_config(own.config.replace("max_body:", "max_bodi:"))
        reply = await asyncio.to_thread(_admin, own, "/admin/v1/config/check", ADMIN_KEY, "POST")
        assert reply.status == 422
        assert reply.json()["ok"] is False
        assert len(reply.json()["faults"]) == 1
        assert "max_bodi" in reply.json()["faults"][0]
        refused = await asyncio.to_thread(_admin, own, "/admin/v1/config/reload", ADMIN_KEY, "POST")
        assert refused.status == 422
        assert (await own.post()).status == 200


async def test_a_call_leaves_one_line_with_its_figures(gateway: Gateway) -> None:
    gateway.play(reply_json(completion(ANSWER, usage=(11, 7))))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await gateway.post(headers={"X-Request-Id": "line-1", "Traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    await asyncio.to_thread(gateway.server.log.wait_for, lambda event: event.get("request_id") == "line-1")
    (event,) = [event for event in gateway.server.log.events() if event.get("request_id") == "line-1"]
    expected = {
        "event": "call",
        "trace_id": trace,
        "team": "platform",
        "key": "ci",
        "model": "chat",
        "provider": "main",
        "target": "main/up-chat",
        "stream": False,
        "status": 200,
        "error": None,
        "attempts": 1,
        "input_tokens": 11,
        "output_tokens": 7,
    }
    assert {name: event[name] for name in expected} == expected
    assert event["id"] != "line-1"
    assert 0 < event["overhead_ms"] < event["duration_ms"] < 5000


async def test_every_line_of_the_log_is_json(gateway: Gateway) -> None:
    await gateway.post(headers={"X-Request-Id": 'a"b'})
    lines = gateway.server.log.text.splitlines()
    assert len(gateway.server.log.events()) == len(lines)


async def test_a_provider_that_dies_and_comes_back_is_used_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as own:
        assert (await own.post("falls-back")).status == 200
        await own.main.__aexit__(None, None, None)
        for _ in range(3):
            reply = await own.post("falls-back")
            assert reply.status == 200
            assert reply.header("x-waystation-provider") == "spare"
        assert (await own.post("chat")).status in (502, 503)
        assert own.server.ready().status == 200


async def test_a_provider_that_dies_in_mid_stream_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as own:
        own.play(stream(sse_chunks(*"abcdefghij" * 20), delay_s=0.05))
        asking = asyncio.create_task(own.post(streams=True))
        await until(lambda: len(own.main.sent_at) > 4)
        await own.main.__aexit__(None, None, None)
        reply = await asking
        assert reply.status == 200
        assert b"[DONE]" not in reply.body
        assert b'"error"' in reply.body.split(b"\n\n")[-2]


def _grown(gateway: Gateway, before: dict[str, float], sample: str) -> float:
    return gateway.server.metric(sample) - before.get(sample, 0.0)


async def test_a_call_is_replayed_by_the_documented_command(gateway: Gateway) -> None:
    gateway.play(reply_json(completion(ANSWER)))
    request_id = (await gateway.post("gpt-4o-mini")).header("x-request-id")
    assert request_id is not None
    documented = re.search(r"^waystation replay (\S+) ", DOCS.read_text(), re.MULTILINE)
    assert documented is not None
    command = [sys.executable, "-m", "proxy.cli", "replay", request_id, "--url", gateway.server.admin_url]
    environ = {**os.environ, "WAYSTATION_ADMIN_KEY": VIEWER_KEY}
    ran = await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"call {request_id}, ")
    assert "main/up-chat" in ran.stdout
    assert "round_robin takes turns" in ran.stdout
    ran = await asyncio.to_thread(
        subprocess.run, [*command[:4], "nope", *command[5:]], env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "No plan is kept under this id" in ran.stderr
