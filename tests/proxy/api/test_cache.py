from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.state import SqliteRegistry
from tests.gateways import CONFIG, KEY, OTHER_KEY, VIEWER_KEY, Rig, chat_body
from tests.news import FakeNews

CACHE, PURGE, FEEDBACK = "/admin/v1/cache", "/admin/v1/cache/purge", "/v1/cache/feedback"
TEXT = CONFIG.replace("chat: {", "chat: {cache: {exact: {ttl: 1h}}, ") + "cache: {memory: 2MB}\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqliteRegistry]:
    with closing(SqliteRegistry(tmp_path / "a.db")) as registry:
        yield registry


@pytest.mark.parametrize(("key", "status"), [(None, 401), (KEY, 401), (VIEWER_KEY, 403)])
async def test_nobody_but_an_admin_purges(key: str | None, status: int) -> None:
    async with Rig(TEXT).admin(key) as client:
        assert (await client.post(PURGE, json={"model": "chat"})).status_code == status
        assert (await client.get(CACHE)).status_code == (200 if key == VIEWER_KEY else status)


@pytest.mark.parametrize(
    "body",
    [{}, {"everything": True}, {"id": 7}, {"team": ""}, {"model": "x" * 257}, {"older_than": "soon"}, {"id": "a\n"}],
)
async def test_it_has_to_be_said_what_is_to_go(body: dict[str, Any]) -> None:
    async with Rig(TEXT).admin() as client:
        reply = await client.post(PURGE, json=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_the_figures_are_those_of_the_calls(registry: SqliteRegistry) -> None:
    rig = Rig(TEXT, registry)
    async with rig.client() as client, rig.admin() as admin:
        for _ in range(3):
            await client.post("/v1/chat/completions", json=chat_body())
        await client.post("/v1/chat/completions", json=chat_body(temperature=1))
        seen = (await admin.get(CACHE)).json()
        assert seen["exact"] | {"saved_usd": ""} == {
            "hits": 2,
            "coalesced": 0,
            "misses": 1,
            "bypassed": 1,
            "stored": 1,
            "unfit": 0,
            "saved_usd": "",
        }
        assert seen["memory"]["entries"] == 1
        assert 0 < seen["memory"]["used_bytes"] < seen["memory"]["budget_bytes"] == 2_000_000
        assert "llm_cache_events_total" in (await admin.get("/metrics")).text
        assert (await admin.post(PURGE, json={"team": "search", "older_than": "0s"})).json() == {"purged": 1}
        [row] = (await admin.get("/admin/v1/audit")).json()["audit"]
        assert (row["action"], row["subject"], row["detail"]) == (
            "cache.purge",
            "team=search, older_than=0s",
            "1 answers",
        )


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"team": "search"}, 1),
        ({"team": "nobody"}, 2),
        ({"model": "chat"}, 0),
        ({"model": "default"}, 2),
        ({"older_than": "1h"}, 2),
        ({"team": "sales", "model": "chat"}, 1),
        ({"id": "my-request"}, 1),
    ],
)
async def test_what_is_meant_goes_and_nothing_else(body: dict[str, str], left: int) -> None:
    rig = Rig(TEXT)
    async with rig.client() as search, rig.client(OTHER_KEY) as sales, rig.admin() as admin:
        await search.post("/v1/chat/completions", json=chat_body(), headers={"x-request-id": "my-request"})
        await sales.post("/v1/chat/completions", json=chat_body())
        assert (await admin.post(PURGE, json=body)).json() == {"purged": 2 - left}
        assert (await admin.get(CACHE)).json()["memory"]["entries"] == left


async def test_an_answer_is_known_by_its_own_id() -> None:
    rig = Rig(TEXT)
    async with rig.client() as client, rig.admin() as admin:
        answer = (await client.post("/v1/chat/completions", json=chat_body())).json()
        assert (await admin.post(PURGE, json={"id": answer["id"]})).json() == {"purged": 1}


async def test_whoever_was_given_a_wrong_answer_says_so_with_its_own_key() -> None:
    rig = Rig(TEXT)
    async with rig.client() as client:
        first = await client.post("/v1/chat/completions", json=chat_body())
        hit = await client.post("/v1/chat/completions", json=chat_body())
        assert hit.headers["x-waystation-cache"] == "exact"
        assert (await client.post(FEEDBACK, json={"id": hit.headers["x-request-id"]})).json() == {"purged": 1}
        again = await client.post("/v1/chat/completions", json=chat_body())
        assert again.headers["x-waystation-cache"] == "miss"
        assert (await client.post(FEEDBACK, json={"id": first.headers["x-request-id"]})).json() == {"purged": 0}
        assert (await client.post(FEEDBACK, json={"id": again.headers["x-request-id"]})).json() == {"purged": 1}
    async with rig.client(None) as stranger:
        assert (await stranger.post(FEEDBACK, json={"id": "x"})).status_code == 401


@pytest.mark.parametrize("body", [{}, {"id": 7}, {"id": ""}, {"id": "a", "team": "search"}, {"call": "a"}])
async def test_a_complaint_names_a_call_and_nothing_else(body: dict[str, Any]) -> None:
    async with Rig(TEXT).client() as client:
        reply = await client.post(FEEDBACK, json=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_what_was_saved_is_shown_once_by_tier() -> None:
    rig = Rig(TEXT)
    counts = rig.gateway.surface.cache.counts
    counts.saved_nusd, counts.semantic.saved_nusd = 5_000_000_000, 2_000_000_000
    async with rig.admin() as admin:
        assert (await admin.get(CACHE)).json()["exact"]["saved_usd"] == "3.000000000"


async def test_in_a_fleet_a_purge_that_others_cannot_be_told_of_is_to_be_tried_again() -> None:
    news = FakeNews()
    async with Rig(news=news).admin() as client:
        assert (await client.post("/admin/v1/cache/purge", json={"team": "search"})).status_code == 200
        assert [kind for kind, _ in news.told] == ["purge"]
        news.is_away = True
        refused = await client.post("/admin/v1/cache/purge", json={"team": "search"})
    assert refused.status_code == 503
    assert "other gateways can't be told" in refused.json()["error"]["message"]
