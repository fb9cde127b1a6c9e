from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.api import usage
from proxy.state import Payer
from tests.books import MORNING_S, booked
from tests.gateways import CONFIG, KEY, OTHER_KEY, VIEWER_KEY, Rig
from tests.reported import calls

NOVEMBER = {"period": "2026-11"}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A gateway over the books of `tests/reported.py`, on the morning of 21 November."""
    monkeypatch.setattr(usage, "time", lambda: MORNING_S)
    booked(tmp_path / "books.db", *calls())
    rig = Rig(CONFIG + f'state: {{url: "sqlite:///{tmp_path}/books.db"}}\naccounting: {{tag_keys: [env]}}\n')
    yield rig
    rig.gateway._lasting.reading_room.close()


async def own(rig: Rig, key: str | None = OTHER_KEY, **parameters: str) -> tuple[int, dict[str, Any]]:
    async with rig.client(key) as client:
        response = await client.get("/v1/usage", params=parameters)
    return response.status_code, response.json()


async def every(rig: Rig, key: str | None = VIEWER_KEY, **parameters: str) -> tuple[int, dict[str, Any]]:
    async with rig.admin(key) as client:
        response = await client.get("/admin/v1/usage", params=parameters)
    return response.status_code, response.json()


async def test_a_team_sees_its_own_keys_this_month_and_nothing_of_others(rig: Rig) -> None:
    status, found = await own(rig)
    assert (status, found["team"], found["group_by"]) == (200, "sales", ["key"])
    assert [(line["key"], line["requests"], line["cost_usd"]) for line in found["lines"]] == [
        ("batch", 2, "0.000001000"),
        ("web", 2, "0.000000007"),
    ]
    assert (found["total"]["requests"], found["check"]["requests"]) == (4, 4)
    assert "search" not in str(found)


async def test_groups_granularity_and_span_are_as_asked(rig: Rig) -> None:
    _, found = await own(
        rig, KEY, **{"from": "2026-11-21", "to": "2026-11-22"}, group_by="model,tag:env", granularity="hour"
    )
    (line,) = found["lines"]
    assert (line["period"], line["model"], line["tag:env"]) == ("2026-11-21T07:00:00Z", "chat", "prod")


async def test_operators_see_all_teams_or_the_one_they_name(rig: Rig) -> None:
    status, found = await every(rig, **NOVEMBER, compare="previous")
    assert (status, [line["team"] for line in found["lines"]]) == (200, ["sales", "search"])
    assert found["total"]["cost_usd"] == "0.000004557"
    assert found["comparison"]["before"] == {"from": "2026-10-01", "to": "2026-10-22"}
    status, found = await every(rig, **NOVEMBER, team="search", group_by="provider")
    assert [line["provider"] for line in found["lines"]] == ["openai", "qwen"]


@pytest.mark.parametrize(
    ("parameters", "param", "said"),
    [
        ({"team": "search"}, "team", "no parameter 'team'"),
        ({"grup_by": "key"}, "grup_by", "known: period, from, to"),
        ({"group_by": "key; DROP TABLE calls"}, "group_by", "no grouping"),
        ({"granularity": "minute"}, "granularity", "hour, day or month"),
        ({"period": "11/2026"}, "period", "a month such as"),
        ({"from": "2025-01-01"}, "from", "at most 400 days"),
        ({"from": "2026-09-01", "granularity": "hour"}, "from", "at most 31 days"),
        ({"compare": "next"}, "compare", "expected previous"),
        ({"period": ""}, "period", "a month such as"),
    ],
)
async def test_what_cannot_be_reported_is_refused_in_openais_shape(
    rig: Rig, parameters: dict[str, str], param: str, said: str
) -> None:
    status, found = await own(rig, **parameters)
    assert (status, found["error"]["param"]) == (400, param)
    assert said in found["error"]["message"]


async def test_a_parameter_may_be_given_once(rig: Rig) -> None:
    async with rig.client(OTHER_KEY) as client:
        response = await client.get("/v1/usage?period=2026-11&period=2026-10")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "period")


async def test_an_unknown_team_is_told_its_nearest_name(rig: Rig) -> None:
    status, found = await every(rig, team="serch")
    assert (status, found["error"]["param"]) == (400, "team")
    assert "did you mean 'search'?" in found["error"]["message"]


async def test_too_many_lines_are_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_MAX_LINES", 1)
    status, found = await every(rig)
    assert (status, found["error"]["param"]) == (400, "granularity")


async def test_keys_open_their_own_address_only(rig: Rig) -> None:
    assert [(await own(rig, key))[0] for key in (None, "sk-way-wrong", VIEWER_KEY)] == [401, 401, 401]
    assert [(await every(rig, key))[0] for key in (None, KEY)] == [401, 401]


async def test_books_that_are_not_there_yet_are_asked_for_again(tmp_path: Path) -> None:
    rig = Rig(CONFIG + f'state: {{url: "sqlite:///{tmp_path}/none.db"}}\n')
    status, found = await own(rig)
    assert (status, found["error"]["code"]) == (503, "overloaded")
    assert str(tmp_path) not in str(found)
    rig.gateway._lasting.reading_room.close()


async def test_a_key_of_a_team_sees_what_its_vanished_keys_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "time", lambda: MORNING_S)
    gone = [replace(one, payer=Payer("sales", "gone")) for one in calls()[4:5] if not isinstance(one, tuple)]
    booked(tmp_path / "b.db", *gone)
    rig = Rig(CONFIG + f'state: {{url: "sqlite:///{tmp_path}/b.db"}}\n')
    _, found = await own(rig)
    assert [line["key"] for line in found["lines"]] == ["gone"]
    rig.gateway._lasting.reading_room.close()
