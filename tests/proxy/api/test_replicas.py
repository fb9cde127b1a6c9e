from dataclasses import replace

import pytest

from proxy.state import Replica
from tests.gateways import KEY, VIEWER_KEY, Rig
from tests.news import FakeNews

ONE = Replica("aa", "hash", "1.0", "host-1", 7, 1_790_000_000_000, seen_ms_ago=250)


async def test_all_gateways_are_shown_and_whether_they_agree() -> None:
    news = FakeNews()
    rig = Rig(news=news)
    news.me, news.replicas = ONE, [ONE, replace(ONE, id="bb", host="host-2")]
    async with rig.admin(VIEWER_KEY) as client:
        shown = (await client.get("/admin/v1/replicas")).json()
        assert shown["replicas"][0] == {
            "id": "aa",
            "config_hash": "hash",
            "version": "1.0",
            "host": "host-1",
            "pid": 7,
            "started": "2026-09-21T14:13:20+00:00",
            "seen_s_ago": 0.25,
            "this": True,
        }
        assert (shown["replicas"][1]["this"], shown["agree"], shown["heard"]) == (False, True, True)
        news.replicas = [ONE, replace(ONE, id="bb", config_hash="other")]
        news.is_away = True
        shown = (await client.get("/admin/v1/replicas")).json()
        assert (shown["agree"], shown["heard"]) == (False, False)
    assert rig.metrics.registry.get_sample_value("llm_replicas", {"config_hash": "other"}) == 1


async def test_a_gateway_that_is_alone_says_so() -> None:
    async with Rig().admin() as client:
        answer = await client.get("/admin/v1/replicas")
    assert answer.status_code == 404
    assert "is alone" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", [None, KEY])
async def test_nobody_but_operators_sees_them(key: str | None) -> None:
    async with Rig(news=FakeNews()).admin(key) as client:
        assert (await client.get("/admin/v1/replicas")).status_code == 401
