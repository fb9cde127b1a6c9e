import asyncio
from asyncio import to_thread
from collections.abc import Sequence
from dataclasses import replace
from time import time
from types import SimpleNamespace

import orjson
import pytest

from proxy.api.quota import QuotaEndpoint
from proxy.state import StateAway, Use
from tests.gateways import ADMIN_KEY, CONFIG, KEY, OTHER_KEY, VIEWER_KEY, Rig, chat_body

QUOTAS = CONFIG.replace(
    "models: [chat]}\n  sales",
    "models: [chat], quotas: [{usd: 1.5, per: month}, {tokens: 60, per: day, models: [chat]}]}\n  sales",
).replace(f"{{name: web, key: {OTHER_KEY}}}", f"{{name: web, key: {OTHER_KEY}, quotas: [{{tokens: 1k, per: week}}]}}")


async def test_a_team_reads_how_its_own_quotas_stand() -> None:
    rig = Rig(QUOTAS)
    rig.gateway.surface.quotas.settled("search", "ci", "chat", time(), 250_000_000, 15)
    async with rig.client(KEY) as client:
        answer = (await client.get("/v1/quota")).json()
    assert answer["team"] == "search"
    money, tokens = answer["quotas"]
    assert money["quota"] == "usd per month"
    assert (money["size"], money["used"], money["remaining"]) == ("1.500000000", "0.250000000", "1.250000000")
    assert (tokens["quota"], tokens["models"], tokens["used"], tokens["used_ratio"]) == (
        *("tokens per day for chat", ["chat"]),
        *(15, 0.25),
    )
    assert money["period_begins"] < money["period_ends"]


async def test_a_key_s_own_quota_is_shown_with_its_name() -> None:
    async with Rig(QUOTAS).client(OTHER_KEY) as client:
        [quota] = (await client.get("/v1/quota")).json()["quotas"]
    assert (quota["key"], quota["quota"]) == ("web", "tokens per week")


async def test_operators_read_all_of_them_or_one_teams() -> None:
    rig = Rig(QUOTAS)
    async with rig.admin(VIEWER_KEY) as client:
        everyone = (await client.get("/admin/v1/quota")).json()["teams"]
        one = (await client.get("/admin/v1/quota", params={"team": "sales"})).json()["teams"]
        nobody = await client.get("/admin/v1/quota", params={"team": "nope"})
    assert [(team["team"], len(team["quotas"])) for team in everyone] == [("search", 2), ("sales", 1)]
    assert [team["team"] for team in one] == ["sales"]
    assert nobody.status_code == 404


async def test_nobody_reads_them_without_a_key() -> None:
    rig = Rig(QUOTAS)
    async with rig.client(ADMIN_KEY) as client:
        assert (await client.get("/v1/quota")).status_code == 401
    async with rig.admin(KEY) as client:
        assert (await client.get("/admin/v1/quota")).status_code == 401


async def test_a_spent_quota_refuses_a_call_and_takes_not_even_a_request_of_its_rate() -> None:
    limited = QUOTAS.replace("models: [chat], quotas", "models: [chat], limits: {rpm: 2, tpm: 100k}, quotas")
    rig = Rig(limited)
    async with rig.client(KEY) as client:
        rig.gateway.surface.quotas.settled("search", "ci", "chat", time(), 0, 60)
        for _ in range(5):
            answer = await client.post("/v1/chat/completions", json=chat_body())
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "insufficient_quota"
            assert answer.headers["x-should-retry"] == "false"
            assert answer.headers["x-ratelimit-remaining-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining-tokens"] == "100000"
    value = rig.metrics.registry.get_sample_value
    assert value("llm_quota_used_ratio", {"team": "search"}) == 1.0


async def test_a_period_ends_where_nobody_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(QUOTAS)
    rig.gateway.surface.quotas.settled("search", "ci", "chat", time(), 1_500_000_000, 15)
    value = rig.metrics.registry.get_sample_value
    assert value("llm_quota_used_ratio", {"team": "search"}) == 1
    monkeypatch.setattr("proxy.app.gateway.time", lambda: time() + 40 * 86_400)
    await rig.gateway.start()
    await asyncio.sleep(0)
    assert value("llm_quota_used_ratio", {"team": "search"}) == 0
    await rig.gateway.aclose()


class Together:
    """A picture of what many processes count."""

    def __init__(self, *uses: Use) -> None:
        self.uses = uses

    async def used_in(self, teams: Sequence[str], begin_s: float) -> Sequence[Use]:
        assert teams == ["search", "sales"]
        if not self.uses:
            raise StateAway("away")
        return self.uses


@pytest.mark.parametrize("counted", [2, 3, None])
async def test_where_many_processes_count_their_counters_are_compared_with_the_books(counted: int | None) -> None:
    booked = Use("search", "ci", "chat", 2, 30, 10**9)
    reports = SimpleNamespace(
        reporter=SimpleNamespace(books=SimpleNamespace(use=lambda span: [booked])), room=SimpleNamespace(ask=to_thread)
    )
    picture = Together(*(() if counted is None else (booked._replace(calls=counted),)))
    surface = replace(Rig(QUOTAS).gateway.surface, reports=reports, picture=picture)  # type: ignore[arg-type]
    request = SimpleNamespace(
        state=SimpleNamespace(headers={b"authorization": f"Bearer {VIEWER_KEY}".encode()}), query_params={}
    )
    answer = await QuotaEndpoint(SimpleNamespace(surface=surface)).of_all(request)  # type: ignore[arg-type]
    check = orjson.loads(answer.body)["check"]
    assert (check and check["agree"]) == (None if counted is None else counted == 2)
