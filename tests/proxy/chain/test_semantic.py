from typing import Any

import orjson
import pytest

from proxy.cache import Stored
from proxy.cache.meaning import Meaning
from proxy.call import Call
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.chain.semantic import Semantic, Sought
from proxy.observe.cache_counts import CacheCounts
from proxy.state import Meant
from tests.calls import a_call
from tests.fakes import completion
from tests.meanings import FakeEmbedder, FakeIndex, FakeJudge, a_meaning, prove

NOW_S = 1_790_000_000.0
SERVE, SHADOW = SemanticRule(True, 60, 0.05), SemanticRule(False, 60, 0.05)
RULE = CacheRule(b"s" * 32, 60, semantic=SERVE)
NEVER_AUDITED, ALWAYS_AUDITED = 1.0, 0.0


class Rig:
    def __init__(self, judge: FakeJudge | None = None, draw: float = NEVER_AUDITED) -> None:
        self.index = FakeIndex()
        self.meaning: Meaning = a_meaning(judge, self.index)
        self.now_s = NOW_S
        self.state = CacheState.empty(CacheCounts(), lambda: self.now_s)
        self.state.store.resize(10**7)
        self.state.meaning = self.meaning
        self.semantic = Semantic(self.state, lambda: draw)
        self.counts = self.state.counts.semantic
        prove(self.meaning.calibrator("search", "chat", 0.05))

    async def seek(self, text: str, team: str = "search", max_age_s: float = 60, **fields: Any) -> Sought | None:
        return await self.semantic.seek(asked(text, **fields), RULE, SERVE, team, max_age_s)

    async def learn(self, text: str, answer: str = "Cats are fine.", key: bytes = b"k") -> Sought:
        """Somebody asks, and gets an answer of a provider."""
        sought = await self.seek(text)
        assert sought is not None
        fresh = stored(answer, self.now_s)
        is_kept = self.state.add(key, fresh, RULE)
        self.semantic.landed(sought, key, fresh, SERVE, is_kept)
        await self.meaning.settled()
        return sought

    async def decided(self, text: str, terms: SemanticRule = SERVE) -> Stored | None:
        sought = await self.seek(text)
        assert sought is not None
        return self.semantic.decide(sought, terms)


def asked(text: str, **fields: Any) -> Call:
    call = a_call()
    call.request.body |= {"messages": [{"role": "user", "content": text}], **fields}
    return call


def stored(answer: str, now_s: float) -> Stored:
    body = orjson.dumps(completion(answer))
    return Stored(body, "search", "chat", RULE.scope, "req_1", "mine", "a", now_s, 700, 2.0)


async def test_a_question_that_means_the_same_gets_the_answer() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    entry = await rig.decided("what do you know of cats")
    assert entry is not None
    assert b"Cats are fine." in entry.body
    assert (rig.counts.events["hit"], rig.counts.saved_s) == (1, 2.0)
    assert rig.index.touched == [b"k"]


async def test_nothing_is_shared_between_teams_or_with_another_history() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    for sought in (
        await rig.seek("what do you know of cats", team="sales"),
        await rig.seek("what do you know of cats", temperature=0.1),
    ):
        assert sought is not None
        assert rig.semantic.decide(sought, SERVE) is None


async def test_in_shadow_nothing_is_served_and_all_is_counted() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    assert await rig.decided("what do you know of cats", SHADOW) is None
    assert rig.counts.events["would_hit"] == 1
    assert rig.counts.saved_s == 0


async def test_a_guard_that_objects_is_counted_by_its_name() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    assert await rig.decided("do not tell me of cats") is None
    assert (rig.counts.events["vetoed"], rig.counts.vetoes["negation"]) == (1, 1)


async def test_what_is_not_sure_enough_is_a_miss() -> None:
    rig = Rig(FakeJudge(probability=0.45))
    await rig.learn("please tell me of cats")
    assert await rig.decided("what do you know of cats") is None
    assert rig.counts.events["miss"] == 1


async def test_an_audited_hit_is_asked_for_and_teaches() -> None:
    rig = Rig(draw=ALWAYS_AUDITED)
    await rig.learn("please tell me of cats")
    assert await rig.decided("what do you know of cats") is None
    assert rig.counts.events["audited"] == 1
    await rig.learn("what do you know of cats", "Cats are fine.", b"k2")
    assert (rig.meaning.judged, rig.meaning.calibrator("search", "chat", 0.05).judged_count) == (1, 301)


async def test_wrong_answers_end_the_serving() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    for number in range(60):
        await rig.learn(f"question {number} of cats", f"Answer {number}.", b"k%d" % number)
    assert await rig.decided("what do you know of cats") is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"messages": [{"role": "user", "content": "no"}]}, "short"),
    ],
)
async def test_what_is_not_eligible_is_counted_by_its_reason(fields: dict[str, Any], reason: str) -> None:
    rig = Rig()
    assert await rig.seek("please tell me of cats", **fields) is None
    assert (rig.counts.events["ineligible"], rig.counts.ineligible[reason]) == (1, 1)


async def test_a_look_up_that_fails_is_counted_and_nothing_worse() -> None:
    rig = Rig()
    rig.index.embedder = FakeEmbedder("slow")
    assert await rig.seek("please tell me of cats") is None
    rig.state.meaning = None
    assert await rig.seek("please tell me of cats") is None
    assert (rig.counts.events["slow"], rig.counts.events["closed"]) == (1, 1)


async def test_an_answer_that_is_gone_is_no_hit_and_is_not_found_again() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    rig.state.store.purge(lambda entry: True)
    assert await rig.decided("what do you know of cats") is None
    assert rig.index.removed == [b"k"]


async def test_what_is_purged_is_not_found_either_so_that_it_stands_in_nobodys_way() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    rig.state.forget(lambda entry: entry.team == "search")
    assert rig.index.removed == [b"k"]
    assert rig.index.entries == {}


async def test_an_answer_that_is_too_old_for_the_client_is_no_hit() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    rig.now_s += 10
    sought = await rig.seek("what do you know of cats", max_age_s=5)
    assert sought is not None
    assert rig.semantic.decide(sought, SERVE) is None
    assert await rig.semantic.spare(sought, RULE) is None


async def test_when_nobody_else_answers_the_best_there_is_will_do() -> None:
    rig = Rig(FakeJudge(probability=0.6))
    await rig.learn("please tell me of cats")
    sought = await rig.seek("what do you know of cats")
    vetoed = await rig.seek("do not tell me of cats")
    assert sought is not None
    assert vetoed is not None
    assert await rig.semantic.spare(sought, RULE) is not None
    assert await rig.semantic.spare(vetoed, RULE) is None


async def test_an_answer_that_is_not_kept_is_not_found_either() -> None:
    rig = Rig()
    sought = await rig.seek("please tell me of cats")
    assert sought is not None
    rig.semantic.landed(sought, b"k", stored("Cats.", NOW_S), SERVE, is_kept=False)
    assert rig.index.entries == {}
    rig.state.meaning = None
    rig.semantic.landed(sought, b"k", stored("Cats.", NOW_S), SERVE, is_kept=True)
    assert rig.index.entries == {}


async def test_where_nobody_can_be_asked_nothing_is_audited() -> None:
    rig = Rig(draw=ALWAYS_AUDITED)
    await rig.learn("please tell me of cats")
    sought = await rig.seek("what do you know of cats")
    assert sought is not None
    assert rig.semantic.decide(sought, SERVE, may_ask=False) is not None
    assert (rig.counts.events["hit"], rig.counts.events["audited"]) == (1, 0)


async def test_what_is_purged_meanwhile_is_no_spare_answer() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    sought = await rig.seek("what do you know of cats")
    assert sought is not None
    await rig.state.purge(Meant(team="sales"))
    assert await rig.semantic.spare(sought, RULE) is not None
    await rig.state.purge(Meant(team="search"))
    assert await rig.semantic.spare(sought, RULE) is None


async def test_what_is_purged_is_no_more_in_the_index_either() -> None:
    rig = Rig()
    await rig.learn("please tell me of cats")
    await rig.state.purge(Meant(team="sales"))
    assert rig.index.removed == []
    await rig.state.purge(Meant(team="search"))
    assert rig.index.removed == [b"k"]


@pytest.mark.parametrize(("terms", "is_whole"), [(SHADOW, True), (SERVE, False)])
async def test_in_shadow_what_is_not_sure_counts_as_much_as_what_is(terms: SemanticRule, is_whole: bool) -> None:
    rig = Rig(FakeJudge(probability=0.6))
    rig.meaning.calibrators.clear()
    calibrator = rig.meaning.calibrator("search", "chat", 0.05)
    for _ in range(60):
        calibrator.judged(0.6, is_same=False)
    prove(calibrator)
    assert 0.6 < calibrator.threshold <= 1
    await rig.learn("please tell me of cats")
    before = calibrator.judged_count
    sought = await rig.seek("what do you know of cats")
    assert sought is not None
    rig.semantic.landed(sought, b"k2", stored("Cats.", NOW_S), terms, is_kept=False)
    await rig.meaning.settled()
    assert (calibrator.judged_count - before == 1) is is_whole


async def test_all_that_may_be_served_is_learned_of() -> None:
    """With a large `max_error` the verifier starts below the other thresholds."""
    rig = Rig(FakeJudge(probability=0.45, start=0.4), ALWAYS_AUDITED)
    rig.meaning.calibrators.clear()
    prove(rig.meaning.calibrator("search", "chat", 0.05))
    await rig.learn("please tell me of cats")
    assert await rig.decided("what do you know of cats") is None
    assert rig.counts.events["audited"] == 1
    before = rig.meaning.judged
    await rig.learn("what do you know of cats", key=b"k2")
    assert rig.meaning.judged == before + 1
