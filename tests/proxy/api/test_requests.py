from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.books import MORNING_MS, attempt, booked, settlement
from tests.gateways import CONFIG, KEY, OTHER_KEY, Rig
from tests.reported import SALES


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A gateway with three calls: one tried twice, one refused, one of another team with the first one's id."""
    first = attempt(
        "openai", 100, metering="unmetered", low_nusd=0, high_nusd=300, is_answer=False, error="upstream_timeout"
    )
    second = attempt("qwen", 400, role="retry", credential_id="1a2b", upstream_id="chatcmpl-7", price_version="v1")
    booked(
        tmp_path / "books.db",
        settlement("req_1", first, second, request_id="mine/1", is_stream=True, ttft_ms=80, duration_ms=900),
        replace(settlement("req_2", error="rate_limit_exceeded:key_rpm", status=429), attempts=()),
        settlement("req_3", payer=SALES, began_ms=MORNING_MS + 5, request_id="mine/1"),
    )
    rig = Rig(CONFIG + f'state: {{url: "sqlite:///{tmp_path}/books.db"}}\n')
    yield rig
    rig.gateway._lasting.reading_room.close()


async def ask(rig: Rig, name: str, key: str | None = KEY) -> tuple[int, dict[str, Any]]:
    async with rig.client(key) as client:
        response = await client.get(f"/v1/requests/{name}")
    return response.status_code, response.json()


@pytest.mark.parametrize("name", ["req_1", "mine/1", "mine%2F1"])
async def test_a_call_is_told_with_its_attempts(rig: Rig, name: str) -> None:
    status, found = await ask(rig, name)
    assert (status, found["id"], found["request_id"]) == (200, "req_1", "mine/1")
    assert (found["status"], found["target"], found["stream"], found["ttft_ms"]) == (200, "qwen/m", True, 80)
    assert (found["cost_usd"], found["low_usd"], found["high_usd"]) == ("0.000000500", "0.000000400", "0.000000700")
    assert (found["tokens"]["uncached"], found["tokens"]["visible"]) == (20, 40)
    assert found["began_at"] == "2026-11-21T07:00:00.000Z"
    assert [(one["role"], one["metering"], one["error"]) for one in found["attempts"]] == [
        ("first", "unmetered", "upstream_timeout"),
        ("retry", "reported", None),
    ]
    assert (found["attempts"][1]["upstream_id"], found["attempts"][1]["price_version"]) == ("chatcmpl-7", "v1")
    assert "1a2b" not in str(found)


async def test_a_refused_call_has_no_target_and_no_attempts(rig: Rig) -> None:
    _, found = await ask(rig, "req_2")
    assert (found["status"], found["error"], found["target"], found["attempts"]) == (
        *(429, "rate_limit_exceeded:key_rpm", None, []),
    )
    assert found["cost_usd"] == "0.000000000"


@pytest.mark.parametrize("name", ["req_3", "unheard", "x" * 5000, "%27%20OR%201=1", "%00"])
async def test_another_teams_call_is_as_unknown_as_one_that_never_was(rig: Rig, name: str) -> None:
    status, found = await ask(rig, name)
    assert (status, found["error"]["code"]) == (404, "not_found")
    assert set(found["error"]) == {"message", "type", "param", "code"}
    assert found["error"] == (await ask(rig, "unheard"))[1]["error"]


async def test_of_one_id_each_team_is_told_its_own_call(rig: Rig) -> None:
    assert (await ask(rig, "mine/1", OTHER_KEY))[1]["id"] == "req_3"


async def test_without_a_key_nothing_is_told(rig: Rig) -> None:
    assert (await ask(rig, "req_1", None))[0] == 401
