import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from proxy.cache import FileLevel, Listener, Purged, Shared, SharedStats, Stored
from proxy.cache.alone import Alone
from proxy.cache.meaning import Meaning
from proxy.cache.nearest import Remote
from proxy.cache.served import Hit
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.config import Config
from proxy.config.load import load_text
from proxy.observe.cache_counts import CacheCounts
from proxy.state import Meant, SqliteCache, StateAway
from tests.fakes import completion
from tests.meanings import FakeIndex, a_meaning, prove

NOW_S = 1_790_000_000.0
KEY = b"k" * 32
RULE = CacheRule(b"s" * 32, 60)
RULES = {"chat": RULE}
STORED = Stored(orjson.dumps(completion("Hello!")), "search", "chat", RULE.scope, "req_1", "mine", "a", NOW_S, 700)


def config(text: str = "") -> Config:
    return load_text(f"version: 1\n{text}", {}, "g.yaml").config


def state(path: Path | None = None) -> CacheState:
    def open_shared(_: Config) -> Shared | None:
        return None if path is None else FileLevel(SqliteCache(path), 10**8, lambda: NOW_S)

    made = CacheState.empty(CacheCounts(), lambda: NOW_S, open_shared)
    made.adapt(config(), RULES)
    return made


async def found(one: CacheState, rule: CacheRule = RULE, now_s: float = NOW_S) -> Stored | None:
    for _ in range(500):
        entry = await one.find("search", KEY, rule, now_s)
        if entry is not None or one.shared is None or not one.shared.stats.late:
            return entry
        one.shared.stats.late = 0
    raise AssertionError("it never answered")


async def restarted(path: Path) -> CacheState:
    first = state(path)
    assert first.add(KEY, STORED, RULE)
    assert first.shared is not None
    await first.shared.aclose()
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

    async def find_and_purge(team: str, key: bytes) -> Stored | None:
        entry = await find(team, key)
        second.forget(lambda entry: False)
        return entry

    shared.find = find_and_purge  # type: ignore[method-assign]
    assert await second.find("search", KEY, RULE, NOW_S) is None


async def test_what_was_stored_meanwhile_is_newer_than_what_the_disk_has(tmp_path: Path) -> None:
    second, newer = await restarted(tmp_path / "c"), replace(STORED, call_id="req_2")
    shared = second.shared
    assert shared is not None

    async def find_late(team: str, key: bytes) -> Stored | None:
        second.add(KEY, newer, RULE)
        return STORED

    shared.find = find_late  # type: ignore[method-assign]
    assert await second.find("search", KEY, RULE, NOW_S) == newer
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


class _Answers:
    """Opens a cache by meaning, as often as it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.opened: list[tuple[int, object, bytes | None]] = []
        self.error = error
        self.index = FakeIndex()

    async def __call__(self, budget_bytes: int, remote: object, notes: bytes | None) -> Meaning:
        self.opened.append((budget_bytes, remote, notes))
        if self.error is not None:
            raise self.error
        return a_meaning(index=self.index)


SEMANTIC = {"chat": CacheRule(RULE.scope, 60, semantic=SemanticRule(True, 60, 0.05))}


def by_meaning(answers: _Answers, path: Path | None = None) -> CacheState:
    one = state(path)
    one.open_meaning = answers
    return one


async def opened(one: CacheState) -> None:
    while one._opening is None or not one._opening.done():
        await asyncio.sleep(0.001)


async def test_the_cache_by_meaning_is_opened_once_and_beside_the_loop() -> None:
    answers = _Answers()
    one = by_meaning(answers)
    assert one._opening is None
    one.adapt(config(), SEMANTIC)
    one.adapt(config("cache: {memory: 2MB}"), SEMANTIC)
    await opened(one)
    assert [budget for budget, _, _ in answers.opened] == [64_000_000]
    one.adapt(config("cache: {memory: 8MB}"), SEMANTIC)
    assert answers.index.budget_bytes == 2_000_000
    await one.aclose()
    assert answers.index.is_closed


async def test_one_that_cannot_be_opened_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    one = by_meaning(_Answers(ImportError("no model")))
    one.adapt(config(), SEMANTIC)
    await opened(one)
    assert one.meaning is None
    assert "done without" in caplog.text
    await one.aclose()


async def test_what_was_learned_is_kept_for_the_next_start(tmp_path: Path) -> None:
    answers = _Answers()
    one = by_meaning(answers, tmp_path / "c")
    one.adapt(config(), SEMANTIC)
    await opened(one)
    assert one.meaning is not None
    prove(one.meaning.calibrator("search", "chat", 0.05))
    await one.aclose()
    again = by_meaning(answers, tmp_path / "c")
    again.adapt(config(), SEMANTIC)
    await opened(again)
    assert b"search chat 0.05" in (answers.opened[-1][2] or b"")
    await again.aclose()


async def test_a_close_while_it_is_opened_waits_for_nothing() -> None:
    one = by_meaning(_Answers())
    one.adapt(config(), SEMANTIC)
    await one.aclose()
    assert one.meaning is None


async def test_an_embedder_is_the_provider_that_the_config_names() -> None:
    text = (
        "providers: {p: {kind: openai, api_key: sk-abcdefabcdefabcdef}}\n"
        "cache: {embedder: {provider: p, model: text-embedding-3-small, dimensions: 256}}\n"
    )
    answers = _Answers()
    one = by_meaning(answers)
    one.adapt(config(text), SEMANTIC)
    await opened(one)
    [(_, remote, _)] = answers.opened
    assert isinstance(remote, Remote)
    assert (remote.id, remote.dims) == ("p/text-embedding-3-small", 256)
    await one.aclose()


async def test_a_wrong_answer_is_forgotten_on_both_levels_and_teaches(tmp_path: Path) -> None:
    one = by_meaning(_Answers(), tmp_path / "c")
    one.adapt(config(), SEMANTIC)
    await opened(one)
    assert one.meaning is not None
    one.add(KEY, STORED, RULE)
    calibrator = one.meaning.calibrator("search", "chat", 0.05)
    one.served.add(Hit("search", KEY, STORED.call_id, 0.99, calibrator), "req_2", "theirs")
    assert await one.complain("sales", "theirs") == 0
    assert calibrator.judged_count == 0
    assert await one.complain("search", "theirs") == 1
    assert calibrator.judged_count > 0
    assert await found(one) is None
    assert await one.complain("search", "theirs") == 0
    await one.aclose()


async def test_a_call_that_nobody_remembers_is_not_looked_for() -> None:
    one = state()
    one.add(KEY, STORED, RULE)
    assert await one.complain("search", "mine") == 0
    assert one.store.stats.entries == 1


async def test_a_cache_by_meaning_that_cannot_be_opened_is_logged_whatever_was_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def open_meaning(budget_bytes: int, remote: object, notes: object) -> Meaning:
        raise EOFError("the model's file is cut")

    made = CacheState.empty(CacheCounts(), lambda: NOW_S)
    made.open_meaning = open_meaning
    made.adapt(config(), {"chat": CacheRule(b"s" * 32, 60, semantic=SemanticRule(True, 60, 0.05))})
    for _ in range(5):
        await asyncio.sleep(0)
    assert "can't be opened" in caplog.text
    await made.aclose()


async def test_a_cache_by_meaning_has_the_room_that_is_configured_when_it_is_open() -> None:
    index, may_open = FakeIndex(), asyncio.Event()

    async def open_meaning(budget_bytes: int, remote: object, notes: object) -> Meaning:
        await may_open.wait()
        index.resize(budget_bytes)
        return a_meaning(index=index)

    made, rules = CacheState.empty(CacheCounts(), lambda: NOW_S), dict(RULES)
    made.open_meaning = open_meaning
    rules["chat"] = CacheRule(b"s" * 32, 60, semantic=SemanticRule(True, 60, 0.05))
    made.adapt(config(), rules)
    await asyncio.sleep(0)
    made.adapt(config("cache: {memory: 8MB}"), rules)
    may_open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert index.budget_bytes == 2_000_000
    await made.aclose()


async def test_what_only_the_disk_had_leaves_the_index_too_when_its_team_is_purged(tmp_path: Path) -> None:
    second, index = await restarted(tmp_path / "c"), FakeIndex()
    second.meaning = a_meaning(index=index)
    for number, team in enumerate(("search", "sales")):
        index.add(b"s", b"%d" % number, "Hello?", None, team=team, expires_at=1e12, now=NOW_S)
    assert await second.purge(Meant(team="search")) == 1
    assert [entry_id for _, entry_id in index.entries] == [b"1"]
    await second.aclose()


async def test_a_complaint_of_an_answer_that_is_gone_does_not_hit_the_one_in_its_place() -> None:
    one = state()
    one.add(KEY, STORED, RULE)
    one.served.add(Hit("search", KEY, "req_0"), "req_2", "theirs")
    assert await one.complain("search", "theirs") == 0
    assert one.store.stats.entries == 1


class _Fleet(Alone):
    """A shared level that other replicas have too, and which is empty."""

    is_fleetwide = True
    budget_bytes = None

    def __init__(self) -> None:
        self.stats = SharedStats()
        self.listener: Listener | None = None
        self.added: list[tuple[object, ...]] = []
        self.followed: list[tuple[set[bytes], str]] = []
        self.notes: list[bytes] = []
        self.purged = Purged(0, [])

    async def find(self, team: str, key: bytes) -> Stored | None:
        return None

    def add(self, *parts: object) -> None:
        self.added.append(parts)

    async def purge(self, meant: Meant, teams: Collection[str]) -> Purged:
        return self.purged

    async def discard(self, team: str, key: bytes) -> int:
        return 1

    def keep_scopes(self, scopes: Collection[bytes]) -> None:
        pass

    def note(self, name: str, data: bytes) -> None:
        self.notes.append(data)

    async def find_note(self, name: str) -> bytes | None:
        return None

    def teach(self, data: bytes, unheard: Callable[[], None]) -> bool:
        return True

    def follow(self, listener: Listener) -> None:
        self.listener = listener

    def follow_meaning(self, scopes: Collection[bytes], lesson: str) -> None:
        self.followed.append((set(scopes), lesson))

    async def aclose(self) -> None:
        pass


async def in_a_fleet() -> tuple[CacheState, _Fleet, FakeIndex]:
    answers, fleet = _Answers(), _Fleet()
    one = CacheState.empty(CacheCounts(), lambda: NOW_S, lambda _: fleet)
    one.open_meaning = answers
    one.adapt(config(), SEMANTIC)
    await opened(one)
    return one, fleet, answers.index


def index_both(one: CacheState, index: FakeIndex) -> None:
    """Of two answers one is in memory."""
    one.add(KEY, STORED, RULE)
    for key in (KEY, b"elsewhere"):
        index.add(b"s", key, "Hello?", None, team="search", expires_at=1e12, now=NOW_S)


async def test_what_others_forget_is_forgotten_here_and_not_stored_by_who_had_set_out() -> None:
    one, fleet, index = await in_a_fleet()
    assert fleet.listener is one
    index_both(one, index)
    before = one.purges
    one.forget_elsewhere(Meant(team="search"), None, [KEY, b"elsewhere"])
    assert one.store.stats.entries == 0
    assert index.entries == {}
    assert one.has_purged(before, "search")
    assert not one.has_purged(before, "sales")
    await one.aclose()


async def test_one_key_that_others_forget_is_forgotten_alone() -> None:
    one, _, index = await in_a_fleet()
    index_both(one, index)
    before = one.purges
    one.forget_elsewhere(Meant(team="search"), KEY)
    assert one.store.stats.entries == 0
    assert [entry_id for _, entry_id in index.entries] == [b"elsewhere"]
    assert one.has_purged(before, "search")
    await one.aclose()


async def test_where_it_is_not_known_what_a_purge_came_to_the_team_s_index_goes() -> None:
    one, _, index = await in_a_fleet()
    index_both(one, index)
    index.add(b"s", b"theirs", "Hello?", None, team="sales", expires_at=1e12, now=NOW_S)
    one.forget_elsewhere(Meant(team="search", model="other"), None)
    assert {entry_id for _, entry_id in index.entries} == {KEY, b"theirs"}
    await one.aclose()


async def test_of_a_purge_here_the_index_loses_what_was_meant() -> None:
    one, fleet, index = await in_a_fleet()
    index_both(one, index)
    fleet.purged = Purged(2, [KEY])
    assert await one.purge(Meant(model="chat")) == 2
    assert [entry_id for _, entry_id in index.entries] == [b"elsewhere"]
    await one.aclose()


class _Slow(_Fleet):
    """While it forgets, somebody finds the answer there and keeps it in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = bool

    async def purge(self, meant: Meant, teams: Collection[str]) -> Purged:
        self.meanwhile()
        return Purged(1, [KEY])

    async def discard(self, team: str, key: bytes) -> int:
        self.meanwhile()
        return 1


@pytest.mark.parametrize("is_complaint", [False, True])
async def test_what_memory_is_given_while_the_shared_level_forgets_it_goes_too(*, is_complaint: bool) -> None:
    fleet = _Slow()
    one = CacheState.empty(CacheCounts(), lambda: NOW_S, lambda _: fleet)
    one.adapt(config(), RULES)
    seen: list[int] = []

    def meanwhile() -> None:
        one.store.add(KEY, STORED)
        seen.append(one.purges)

    fleet.meanwhile = meanwhile
    if is_complaint:
        one.served.add(Hit("search", KEY, STORED.call_id), "req_2", "theirs")
        await one.complain("search", "theirs")
    else:
        await one.purge(Meant(model="chat"))
    assert one.store.stats.entries == 0
    assert one.has_purged(seen[0], "search"), "who has found it there and reads it yet does not keep it"


async def test_a_complaint_that_the_shared_level_did_not_take_can_be_made_again() -> None:
    fleet = _Slow()
    one = CacheState.empty(CacheCounts(), lambda: NOW_S, lambda _: fleet)
    one.adapt(config(), RULES)
    one.served.add(Hit("search", KEY, STORED.call_id), "req_2", "theirs")

    def gone() -> None:
        raise StateAway("gone")

    fleet.meanwhile = gone
    with pytest.raises(StateAway):
        await one.complain("search", "theirs")
    fleet.meanwhile = bool
    assert [await one.complain("search", "theirs") for _ in range(2)] == [1, 0]


class _Deaf:
    async def tell_purge(self, meant: Meant, key: bytes | None = None) -> None:
        raise AssertionError("the shared level tells them")

    def ask_complaint(self, team: str, id: str) -> None:
        pass


async def test_in_a_fleet_who_caches_nothing_can_be_asked_to_purge_what_others_cache() -> None:
    fleet = _Fleet()
    fleet.purged = Purged(3, [])
    one = CacheState.empty(CacheCounts(), lambda: NOW_S, lambda _: fleet)
    one.others = _Deaf()
    one.adapt(config(), {})
    assert await one.purge(Meant()) == 3


async def test_lessons_are_taken_in_turn_and_kept_now_and_then() -> None:
    one, fleet, _ = await in_a_fleet()
    assert fleet.followed == [({RULE.scope}, "")]
    assert one.meaning is not None
    assert one.meaning.teach == fleet.teach
    calibrator = one.meaning.calibrator("search", "chat", 0.05)
    for number in range(3):
        one.learned_elsewhere(f"{number}-0", b'["fake","search chat 0.05",0.9,true,1,0]')
    assert calibrator.judged_count == 3
    assert len(fleet.notes) == 1, "once a minute"
    await one.aclose()
    assert b'"place":"2-0"' in fleet.notes[-1]


async def test_a_new_config_follows_other_indexes() -> None:
    one, fleet, _ = await in_a_fleet()
    one.adapt(config(), {"chat": CacheRule(b"t" * 32, 60, semantic=SemanticRule(True, 60, 0.05))})
    assert [scopes for scopes, _ in fleet.followed] == [{RULE.scope}, {b"t" * 32}]
    await one.aclose()


async def test_a_level_that_fails_says_nothing_of_what_it_has() -> None:
    one, fleet, _ = await in_a_fleet()
    seen = [one.is_blind]
    fleet.stats.is_failing = True
    assert [*seen, one.is_blind] == [False, True]
    await one.aclose()
