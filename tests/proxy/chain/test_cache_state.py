from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from proxy.cache import Shared, Stored
from proxy.chain.cache_state import CacheRule, CacheState
from proxy.config import Config
from proxy.config.load import load_text
from proxy.observe.cache_counts import CacheCounts
from proxy.state import Meant, SqliteCache
from tests.fakes import completion

NOW_S = 1_790_000_000.0
KEY = b"k" * 32
RULE = CacheRule(b"s" * 32, 60)
RULES = {"chat": RULE}
STORED = Stored(orjson.dumps(completion("Hello!")), "search", "chat", RULE.scope, "req_1", "mine", "a", NOW_S, 700)


def config(text: str = "") -> Config:
    return load_text(f"version: 1\n{text}", {}, "g.yaml").config


def state(path: Path | None = None) -> CacheState:
    def open_shared(_: Config) -> Shared | None:
        return None if path is None else Shared(SqliteCache(path), 10**8, lambda: NOW_S)

    made = CacheState.empty(CacheCounts(), lambda: NOW_S, open_shared)
    made.adapt(config(), RULES)
    return made


async def found(one: CacheState, rule: CacheRule = RULE, now_s: float = NOW_S) -> Stored | None:
    for _ in range(500):
        entry = await one.find(KEY, rule, now_s)
        if entry is not None or one.shared is None or not one.shared.stats.late:
            return entry
        one.shared.stats.late = 0
    raise AssertionError("it never answered")


async def restarted(path: Path) -> CacheState:
    first = state(path)
    assert first.add(KEY, STORED, RULE)
    assert first.shared is not None
    first.shared.close()
    return state(path)


async def test_an_answer_that_memory_does_not_have_comes_out_of_the_shared_level_and_stays(tmp_path: Path) -> None:
    second = await restarted(tmp_path / "c")
    assert await found(second) == STORED
    assert second.store.find(KEY, NOW_S, 60) == STORED
    assert second.counts.used_bytes > 0


@pytest.mark.parametrize(
    ("rule", "later_s"), [(RULE, 61), (CacheRule(RULE.scope, 5), 6), (CacheRule(b"t" * 32, 60), 0)]
)
async def test_one_that_is_too_old_or_of_another_config_does_not(
    tmp_path: Path, rule: CacheRule, later_s: float
) -> None:
    second = await restarted(tmp_path / "c")
    assert await found(second, rule, NOW_S + later_s) is None


async def test_what_is_purged_is_gone_on_both_levels(tmp_path: Path) -> None:
    second = await restarted(tmp_path / "c")
    assert await second.purge(Meant(id="mine")) == 1
    assert await found(second) is None


async def test_what_is_found_while_something_is_purged_may_be_just_that(tmp_path: Path) -> None:
    second = await restarted(tmp_path / "c")
    assert await found(second) is not None
    second.store.purge(lambda entry: True)
    shared = second.shared
    assert shared is not None
    find = shared.find

    async def find_and_purge(key: bytes) -> Stored | None:
        entry = await find(key)
        second.purges += 1
        return entry

    shared.find = find_and_purge  # type: ignore[method-assign]
    assert await second.find(KEY, RULE, NOW_S) is None


async def test_what_was_stored_meanwhile_is_newer_than_what_the_disk_has(tmp_path: Path) -> None:
    second, newer = await restarted(tmp_path / "c"), replace(STORED, call_id="req_2")
    shared = second.shared
    assert shared is not None

    async def find_late(key: bytes) -> Stored | None:
        second.add(KEY, newer, RULE)
        return STORED

    shared.find = find_late  # type: ignore[method-assign]
    assert await second.find(KEY, RULE, NOW_S) == newer
    assert second.store.find(KEY, NOW_S, 60) == newer


async def test_without_a_cache_anywhere_the_shared_level_is_not_opened(tmp_path: Path) -> None:
    made = CacheState.empty(CacheCounts(), lambda: NOW_S, lambda _: pytest.fail("it was opened"))
    made.adapt(config(), {})
    assert not (tmp_path / "c").exists()


async def test_it_is_opened_once(tmp_path: Path) -> None:
    opened: list[Config] = []
    made = CacheState.empty(CacheCounts(), lambda: NOW_S, lambda asked: opened.append(asked))
    made.adapt(config(), RULES)
    made.adapt(config("cache: {memory: 2MB}"), RULES)
    assert len(opened) == 1
    assert made.shelf.limit_bytes == 2_000_000 // 8


async def test_a_new_config_forgets_what_it_makes_useless() -> None:
    one = state()
    one.add(KEY, STORED, RULE)
    one.adapt(config(), RULES)
    assert one.store.stats.entries == 1
    one.adapt(config(), {"chat": CacheRule(b"t" * 32, 60)})
    assert one.store.stats.entries == 0
