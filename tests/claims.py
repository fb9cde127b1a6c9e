"""Claims on a real Redis, without an event loop's detours: each script runs at once."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import redis

from proxy.state import Intent, Payer, QuotaPlace, RateTerms, StateAway
from proxy.state.redis_claims import LEASE_S, RedisClaims
from proxy.state.redis_client import asked, run_script
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Word
from proxy.state.scripts import Script

T = TypeVar("T")
#: 2026-11-21 07:00 UTC, in milliseconds.
MORNING_MS = 1_795_244_400_000
#: The day, week and month that it is then, as `Calendar.counted` says it.
PERIODS = ("day:2026-11-21", 1_798_761_600, "week:2026-11-16", 1_798_934_400, "month:2026-11-01", 1_799_539_200)
DAY, MONTH = PERIODS[0], PERIODS[4]


class DirectLink:
    """Takes the place of a Link: asks while one waits, or plays a Redis that is away."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.is_away = False
        self.loses_answers = False  #: what is asked is done, and the answer gets lost
        self.unheard = 0
        self.asked: list[str] = []  #: names of scripts and commands

    async def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> Any:
        self._note(script.name)
        answer = run_script(self.client, script, keys, args)
        if self.loses_answers:
            self.is_away = True
            raise StateAway("no answer in time")
        return answer

    async def ask(self, *command: Word) -> Any:
        self._note(str(command[0]))
        return asked(lambda: self.client.execute_command(*command))  # type: ignore[no-untyped-call]

    def send(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> None:
        if self.is_away:
            self.unheard += 1
            return
        self._note(script.name)
        run_script(self.client, script, keys, args)

    def _note(self, name: str) -> None:
        if self.is_away:
            raise StateAway("Redis can't be asked just now")
        self.asked.append(name)


class Place:
    """A namespace of its own, under a clock moved by hand."""

    def __init__(self, client: redis.Redis, lease_s: float = LEASE_S) -> None:
        self.client = client
        self.now_ms = MORNING_MS
        self.link = DirectLink(client)
        self.keys = RedisKeys(f"t{uuid4().hex}")
        self.tag = self.keys.team("search")
        self.claims = RedisClaims(
            self.link,  # type: ignore[arg-type]  # it takes its place
            self.keys,
            clock=lambda: self.now_ms / 1000,
            now_ms=lambda: self.now_ms,
            lease_s=lease_s,
        )

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    def has(self, name: str) -> bool:
        return bool(self.client.exists(f"{self.tag}:{name}"))

    def counts(self, name: str) -> dict[str, int]:
        """A hash of the team, as numbers."""
        found: Any = self.client.hgetall(f"{self.tag}:{name}")
        return {field.decode(): int(value) for field, value in found.items()}

    def held(self) -> int:
        """All that is reserved of money and tokens."""
        return sum(sum(self.counts(f"held:{period}").values()) for period in PERIODS[::2])


def done(step: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


def rate(key_name: str = "", rpm: int = 0, tpm: int = 0, concurrency: int = 0) -> RateTerms:
    return RateTerms(key_name, rpm, tpm, concurrency)


def quota(size: int, unit: str = "usd", key_name: str = "", at: int = 4, **changes: Any) -> QuotaPlace:
    """A quota of the month; of the day with `at` 0."""
    return QuotaPlace(str(PERIODS[at]), int(PERIODS[at + 1]), f"{unit}\n{key_name}", size, **changes)


def intent(call_id: str) -> Intent:
    return Intent(
        call_id, "mine", MORNING_MS, Payer("search", "ci", "4711", {"env": "prod"}), "chat", True, 500, 30, 70
    )
