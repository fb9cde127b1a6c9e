from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.state import SqliteRegistry
from tests.gateways import CONFIG, KEY, VIEWER_KEY, Rig

GRANTS = "/admin/v1/grants"
TEXT = CONFIG.replace(
    "models: [chat]}",
    "models: [chat], quotas: [{usd: 500, per: month}, {tokens: 50M, per: day, models: [large, chat]}]}",
)
MONEY: dict[str, Any] = {"team": "search", "quota": "usd per month", "usd": 100.1, "until": "2999-01-31"}
TOKENS: dict[str, Any] = {
    "team": "search",
    "quota": "tokens per day for chat,large",
    "tokens": 5_000_000,
    "until": "2999-01-31T18:00:00+01:00",
    "note": "the launch",
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqliteRegistry]:
    with closing(SqliteRegistry(tmp_path / "a.db")) as registry:
        yield registry


@pytest.mark.parametrize(("key", "status"), [(None, 401), (KEY, 401), (VIEWER_KEY, 403)])
async def test_nobody_but_an_admin_grants(registry: SqliteRegistry, key: str | None, status: int) -> None:
    async with Rig(TEXT, registry).admin(key) as client:
        assert (await client.post(GRANTS, json=MONEY)).status_code == status
        assert (await client.post(f"{GRANTS}/withdraw", json={"id": 1})).status_code == status
        assert (await client.get(GRANTS)).status_code == (200 if key == VIEWER_KEY else status)


async def test_a_quota_is_raised_until_a_date_and_everybody_can_see_by_whom(
    registry: SqliteRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(TEXT, registry)
    async with rig.admin() as client:
        money = (await client.post(GRANTS, json=MONEY)).json()
        tokens = (await client.post(GRANTS, json=TOKENS)).json()
    assert money == {
        "id": 1,
        "team": "search",
        "quota": "usd per month",
        "usd": 100.1,
        "tokens": None,
        "until": "2999-01-31T00:00:00+00:00",
        "in_force": True,
        "created": money["created"],
        "created_by": "admin:ops",
        "note": "",
        "withdrawn": None,
    }
    assert (tokens["tokens"], tokens["usd"], tokens["until"]) == (5_000_000, None, "2999-01-31T17:00:00+00:00")
    async with rig.admin(VIEWER_KEY) as client:
        assert (await client.get(GRANTS)).json() == {"grants": [tokens, money]}
        assert (await client.get(GRANTS, params={"limit": 1})).json() == {"grants": [tokens]}
    registry.refresh()
    assert [(one.amount, one.unit) for one in registry.grants_in_force(0)] == [
        (100_100_000_000, "nusd"),
        (5_000_000, "tokens"),
    ]
    assert "audit: 'ops' raised 'usd per month' of the team search by 100100000000 nusd until 2999-01-31" in caplog.text
    assert [row.action for row in registry.audit(9)] == ["grant.add", "grant.add"]


async def test_a_grant_is_withdrawn_once(registry: SqliteRegistry) -> None:
    async with Rig(TEXT, registry).admin() as client:
        await client.post(GRANTS, json=MONEY)
        response = await client.post(f"{GRANTS}/withdraw", json={"id": 1})
        again = await client.post(f"{GRANTS}/withdraw", json={"id": 1})
    assert response.json()["in_force"] is False
    assert response.json()["withdrawn"] is not None
    assert (again.status_code, again.json()["error"]["message"]) == (400, "The grant 1 is over already.")
    registry.refresh()
    assert list(registry.grants_in_force(0)) == []


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"team": "serach"}, "team", "did you mean 'search'?"),
        ({"team": None}, "team", "Give 'team'"),
        ({"quota": "usd per day"}, "quota", "'usd per month', 'tokens per day for chat,large'"),
        ({"team": "sales"}, "quota", "that the team 'sales' has: none"),
        ({"quota": 5}, "quota", "Give 'quota'"),
        ({"usd": 0}, "usd", "above 0"),
        ({"usd": -1}, "usd", "above 0"),
        ({"usd": True}, "usd", "above 0"),
        ({"usd": "5"}, "usd", "above 0"),
        ({"usd": 1e12}, "usd", "above 0"),
        ({"usd": 1e-10}, "usd", "billionth"),
        ({"tokens": 5}, "usd", "counts money"),
        ({"quota": "tokens per day for chat,large"}, "tokens", "counts tokens"),
        ({"until": "2020-01-01"}, "until", "over already"),
        ({"until": "soon"}, "until", "a day such as"),
        ({"until": "2999-01-31T18:00:00"}, "until", "with its offset"),
        ({"until": 5}, "until", "a day such as"),
        ({"note": "a\nb"}, "note", "one line"),
        ({"note": "x" * 501}, "note", "one line"),
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused(
    registry: SqliteRegistry, change: dict[str, Any], param: str, words: str
) -> None:
    async with Rig(TEXT, registry).admin() as client:
        response = await client.post(GRANTS, json=MONEY | change)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert words in response.json()["error"]["message"]
    assert registry.grants(1) == []


@pytest.mark.parametrize("grant_id", [None, "1", True, 0, -1, 2**60])
async def test_what_is_no_id_withdraws_nothing(registry: SqliteRegistry, grant_id: object) -> None:
    async with Rig(TEXT, registry).admin() as client:
        response = await client.post(f"{GRANTS}/withdraw", json={"id": grant_id})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "id")
