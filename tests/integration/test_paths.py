"""Which paths and methods there are: matched exactly, never walked, and 404 or 405 in OpenAI's shape for the rest."""

from __future__ import annotations

import pytest

from tests.integration.gateway import ADMIN_KEY, KEY, Gateway, chat_body
from tests.integration.raw_client import connect, request_bytes

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize(
    "path",
    [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/../admin",
        "/v1/models/../chat/completions",
        "/v1/%63hat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat/%2e%2e/chat/completions",
        "/V1/chat/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions;x=1",
        "/v1/responses/../chat/completions",
        "/",
    ],
)
async def test_a_path_is_matched_exactly_or_not_at_all(gateway: Gateway, path: str) -> None:
    data = request_bytes(path=path, headers={"Authorization": f"Bearer {KEY}"}, body=chat_body())
    async with connect(gateway.server.address) as client:
        await client.send(data)
        reply = await client.read_reply()
    assert reply.status in (404, 405)
    assert reply.error()["code"] in ("not_found", "method_not_allowed")
    assert reply.header("x-request-id")
    assert gateway.asked == 0


@pytest.mark.parametrize(
    "path", ["/v1/models/../../x", "/v1/models/%2e%2e%2f%2e%2e%2fadmin", "/v1/models/nobody", "/v1/models/{model}"]
)
async def test_a_model_name_is_looked_up_and_never_walked(gateway: Gateway, path: str) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes("GET", path, headers={"Authorization": f"Bearer {KEY}"}))
        reply = await client.read_reply()
    assert reply.status == 404
    assert reply.error()["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/metrics", "/admin/v1/config", "/admin/v1/config/reload"])
async def test_operators_paths_do_not_exist_for_clients(gateway: Gateway, path: str) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes("GET", path, headers={"Authorization": f"Bearer {ADMIN_KEY}"}))
        reply = await client.read_reply()
    assert reply.status == 404
    assert reply.error()["code"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_another_method_is_405_and_says_which_one_is_allowed(gateway: Gateway, method: str) -> None:
    async with connect(gateway.server.address) as client:
        await client.send(request_bytes(method, headers={"Authorization": f"Bearer {KEY}"}))
        reply = await client.read_reply(is_head=method == "HEAD")
    assert reply.status == 405
    assert reply.header("allow") == "POST"
    if method != "HEAD":
        assert reply.error()["code"] == "method_not_allowed"
