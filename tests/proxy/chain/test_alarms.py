import asyncio
from datetime import UTC

import pytest

from proxy.accounting import Allowance, QuotaTerms
from proxy.accounting.periods import Calendar
from proxy.chain import Alarms, amount_of, instant, tell_of_end
from proxy.observe import Metrics
from tests.books import MORNING_S


class Rig:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.sent: list[dict[str, object]] = []
        self.alarms = Alarms(self.metrics, lambda event: self.sent.append(dict(event)), lambda: MORNING_S)

    def allowance(self, *owner: str) -> Allowance:
        one = Allowance(QuotaTerms(owner, "usd", 10**9, "day"))
        calendar = Calendar(UTC)
        span = calendar.span("day", MORNING_S)
        one.begin(calendar.begin_s(span.first), calendar.begin_s(span.end), 500_000_001)
        return one


def test_a_level_of_a_quota_is_logged_counted_and_sent(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.alarms.quota(rig.allowance("search"), 0.5)
    rig.alarms.quota(rig.allowance("search", "ci"), 1.0)
    warning, spent = rig.sent
    assert warning == {
        "type": "quota_warning",
        "at": "2026-11-21T07:00:00+00:00",
        "team": "search",
        "key": None,
        "quota": "usd per day",
        "level": 0.5,
        "used": "0.500000001",
        "size": "1.000000000",
        "unit": "usd",
        "period_ends": "2026-11-22T00:00:00+00:00",
    }
    assert (spent["type"], spent["key"]) == ("quota_spent", "ci")
    value = rig.metrics.registry.get_sample_value
    labels = {"team": "search", "quota": "usd per day"}
    assert value("llm_quota_warnings_total", labels | {"level": "50%"}) == 1
    assert value("llm_quota_warnings_total", labels | {"level": "spent"}) == 1


def test_breakers_and_credentials_are_told_when_they_change() -> None:
    rig = Rig()
    rig.alarms.look([("a/m", "closed"), ("b/m", "open")], [("a", "k1", "usable")])
    rig.alarms.look([("a/m", "closed"), ("b/m", "open")], [("a", "k1", "parked")])
    rig.alarms.look([("a/m", "closed"), ("b/m", "half_open")], [("a", "k1", "parked")])
    assert [(one["type"], one.get("target"), one.get("credential")) for one in rig.sent] == [
        ("breaker_open", "b/m", None),
        ("credential_refused", None, "k1"),
        ("breaker_closed", "b/m", None),
    ]


def test_amounts_are_exact() -> None:
    assert amount_of(12_345_678_901, "usd") == "12.345678901"
    assert amount_of(1, "usd") == "0.000000001"
    assert amount_of(7, "tokens") == 7
    assert instant(0) == "1970-01-01T00:00:00+00:00"


async def test_a_task_that_should_never_end_is_told_of_when_it_does(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("boom")

    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    tell_of_end(task)
    assert "housekeeping has ended" in caplog.text
    caplog.clear()
    cancelled = asyncio.ensure_future(asyncio.sleep(60))
    cancelled.cancel()
    await asyncio.wait([cancelled])
    tell_of_end(cancelled)
    assert caplog.text == ""
