import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import orjson
import pytest

from proxy.cache import Shelf, Store
from proxy.call import Answer, Attempt, CacheNote, Call, Principal
from proxy.chain.cache import Caching
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.chain.catalogue import Catalogue, Model
from proxy.chain.semantic import Semantic
from proxy.errors import (
    CacheMiss,
    GatewayError,
    InternalError,
    InvalidRequest,
    QuotaSpent,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.observe.cache_counts import CacheCounts
from proxy.providers import Patience
from proxy.state import Meant
from proxy.wire.usage import Usage
from tests.calls import PATIENCE, a_call
from tests.fakes import completion, sse_chunks
from tests.meanings import FakeIndex, a_meaning, prove

ANSWER = orjson.dumps(completion("Hello!"))
Script = bytes | list[bytes] | GatewayError


class Rig:
    """The layer over a scripted endpoint; the last step of the script repeats."""

    def __init__(self, *script: Script, patience: Patience = PATIENCE, **rule: Any) -> None:
        self.now_s = 1_790_000_000.0
        self.script = list(script)
        self.asked: list[Call] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fallback: str | None = None
        self.state = CacheState(Store(10**7, Random(1)), Shelf(10**6), CacheCounts(), lambda: self.now_s)
        rules = {"chat": CacheRule(b"s" * 32, 60, **rule)}
        models = Catalogue([Model("chat", (), patience, 15, ())])
        self.layer = Caching(
            rules, self.state, models, lambda call: None, lambda: 0.0, Semantic(self.state, lambda: 1.0)
        )

    async def endpoint(self, call: Call) -> Answer:
        self.asked.append(call)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        await self.gate.wait()
        call.attempts.append(Attempt("a/m", "m", "a", 0.0))
        call.cost_nusd, call.fallback = 700, self.fallback
        if isinstance(step, GatewayError):
            raise step
        if isinstance(step, bytes):
            return Answer(200, (), "upstream", step)
        return Answer(200, (), "upstream", blocks=_each(step))

    async def ask(
        self, call: Call | None = None, *, control: bytes | None = None, stream: bool = False, **fields: Any
    ) -> tuple[str, bytes]:
        """How the cache fared, and the whole answer."""
        call = call or a_call(stream=stream)
        call.id = f"req_{id(call)}"
        call.request.body |= fields
        if control is not None:
            call.headers = {b"cache-control": control}
        try:
            answer = await self.layer(call, self.endpoint)
            body = answer.body if answer.blocks is None else b"".join([block async for block in answer.blocks])
        finally:
            for step in call.on_last_byte:
                step()
            await call.closing.aclose()
        return call.cache.result if call.cache is not None else "none", body

    def waiting(self, count: int) -> list[asyncio.Task[tuple[str, bytes]]]:
        return [asyncio.create_task(self.ask()) for _ in range(count)]


async def _each(blocks: list[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def turn() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_second_call_is_a_hit_that_costs_nothing() -> None:
    rig = Rig(ANSWER)
    assert await rig.ask() == ("miss", ANSWER)
    rig.now_s += 9.5
    call = a_call()
    assert await rig.ask(call) == ("exact", ANSWER)
    assert call.cache == CacheNote("exact", 9, 700)
    assert (call.cost_nusd, call.attempts, len(rig.asked)) == (0, [], 1)
    counts = rig.state.counts
    assert (counts.events["hit"], counts.events["miss"], counts.events["stored"]) == (1, 1, 1)
    assert counts.saved_nusd == 700
    assert counts.used_bytes == rig.state.store.stats.used_bytes > len(ANSWER)


async def test_a_stream_and_json_serve_each_other() -> None:
    rig = Rig(sse_chunks("Hel", "lo!"))
    assert (await rig.ask(stream=True))[0] == "miss"
    result, body = await rig.ask()
    assert (result, orjson.loads(body)["choices"]) == ("exact", completion("Hello!")["choices"])
    result, body = await rig.ask(stream=True)
    assert (result, b'"content":"Hello!"' in body, body.endswith(b"data: [DONE]\n\n")) == ("exact", True, True)


async def test_an_old_answer_is_none() -> None:
    rig = Rig(ANSWER)
    await rig.ask()
    rig.now_s += 60
    assert (await rig.ask())[0] == "miss"


async def test_a_model_without_a_cache_is_passed() -> None:
    rig = Rig(ANSWER)
    assert [(await rig.ask(a_call("other")))[0] for _ in range(2)] == ["none", "none"]
    assert len(rig.asked) == 2
    with pytest.raises(CacheMiss):
        await rig.ask(a_call("other"), control=b"only-if-cached")


async def test_another_team_asks_for_itself() -> None:
    rig = Rig(ANSWER)
    await rig.ask()
    assert (await rig.ask(a_call(principal=Principal("sales", "ci", None))))[0] == "miss"
    assert (await rig.ask(a_call(principal=Principal("search", "another key", None))))[0] == "exact"


async def test_chance_is_only_for_rules_that_say_so() -> None:
    assert [(await one.ask(temperature=1))[0] for one in [Rig(ANSWER)] for _ in range(2)] == ["bypass", "bypass"]
    assert [(await one.ask(temperature=1))[0] for one in [Rig(ANSWER, is_sampled=True)] for _ in range(2)] == [
        "miss",
        "exact",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        orjson.dumps(completion("Hel", finish="length")),
        orjson.dumps({**completion(), "citations": ["https://…"]}),
        sse_chunks("Hel", finish="content_filter"),
        sse_chunks("Hel", finish=None),
    ],
)
async def test_what_is_not_whole_is_not_kept(answer: bytes | list[bytes]) -> None:
    rig, stream = Rig(answer), isinstance(answer, list)
    assert [(await rig.ask(stream=stream))[0] for _ in range(2)] == ["miss", "miss"]
    assert rig.state.counts.events["unfit"] == 2


async def test_what_another_model_answered_is_not_kept() -> None:
    rig = Rig(ANSWER)
    rig.fallback = "large"
    assert [(await rig.ask())[0] for _ in range(2)] == ["miss", "miss"]


async def test_a_failure_is_not_kept() -> None:
    rig = Rig(UpstreamError("down"), ANSWER)
    with pytest.raises(UpstreamError):
        await rig.ask()
    assert (await rig.ask())[0] == "miss"


async def test_a_client_may_want_a_new_answer_which_is_kept() -> None:
    newer = orjson.dumps(completion("newer"))
    rig = Rig(ANSWER, newer)
    await rig.ask()
    assert await rig.ask(control=b"no-cache") == ("bypass", newer)
    assert await rig.ask() == ("exact", newer)


async def test_a_client_may_want_nothing_kept() -> None:
    rig = Rig(ANSWER)
    assert (await rig.ask(control=b"no-store"))[0] == "bypass"
    assert rig.state.store.stats.entries == 0


async def test_a_client_may_want_it_young() -> None:
    rig = Rig(ANSWER)
    await rig.ask()
    rig.now_s += 10
    assert (await rig.ask(control=b"max-age=10"))[0] == "exact"
    assert (await rig.ask(control=b"max-age=9"))[0] == "miss"


async def test_a_client_may_want_a_stored_one_or_none() -> None:
    rig = Rig(ANSWER)
    with pytest.raises(CacheMiss):
        await rig.ask(control=b"only-if-cached")
    with pytest.raises(CacheMiss):
        await rig.ask(control=b"only-if-cached", temperature=1)
    assert rig.asked == []
    await rig.ask()
    assert (await rig.ask(control=b"only-if-cached"))[0] == "exact"


async def test_a_spent_quota_leaves_what_is_stored() -> None:
    def unpaid(**fields: Any) -> Call:
        call = a_call()
        call.request.body |= fields
        call.unpaid = lambda: QuotaSpent("spent")
        return call

    rig = Rig(ANSWER)
    for fields in ({}, {"temperature": 1}):
        with pytest.raises(QuotaSpent):
            await rig.ask(unpaid(**fields))
    await rig.ask()
    assert (await rig.ask(unpaid()))[0] == "exact"


async def test_a_spent_quota_joins_nobody_for_whom_it_might_have_to_pay() -> None:
    rig = Rig(ANSWER)
    rig.gate.clear()
    first = rig.waiting(1)
    await turn()
    call = a_call()
    call.unpaid = lambda: QuotaSpent("spent")
    with pytest.raises(QuotaSpent):
        await rig.ask(call)
    rig.gate.set()
    await asyncio.gather(*first)


async def test_a_hundred_at_once_make_one_call() -> None:
    rig = Rig(ANSWER)
    rig.gate.clear()
    tasks = rig.waiting(100)
    await turn()
    rig.gate.set()
    results = await asyncio.gather(*tasks)
    assert sorted(result for result, _ in results) == ["coalesced"] * 99 + ["miss"]
    assert {body for _, body in results} == {ANSWER}
    assert len(rig.asked) == 1
    counts = rig.state.counts
    assert (counts.events["miss"], counts.events["coalesced"], counts.saved_nusd) == (1, 99, 99 * 700)


async def test_who_waited_for_a_failure_asks_once_more_together_then_alone() -> None:
    rig = Rig(UpstreamError("down"))
    rig.gate.clear()
    tasks = rig.waiting(10)
    await turn()
    rig.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, UpstreamError) for one in results)
    assert len(rig.asked) == 10
    assert rig.layer._flights == {}


async def test_a_failure_that_passes_costs_the_others_one_call() -> None:
    rig = Rig(UpstreamError("down"), ANSWER)
    rig.gate.clear()
    tasks = rig.waiting(10)
    await turn()
    rig.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, UpstreamError) for one in results) == 1
    assert len(rig.asked) == 2


async def test_what_is_wrong_with_the_request_is_wrong_for_all() -> None:
    rig = Rig(InvalidRequest("no"))
    rig.gate.clear()
    tasks = rig.waiting(10)
    await turn()
    rig.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, InvalidRequest) for one in results)
    assert len(rig.asked) == 1


async def test_a_field_that_the_key_leaves_out_may_be_what_was_wrong() -> None:
    rig = Rig(InvalidRequest("no such tier"), ANSWER)
    rig.gate.clear()
    first = asyncio.create_task(rig.ask(service_tier="none"))
    await turn()
    other = asyncio.create_task(rig.ask())
    await turn()
    rig.gate.set()
    with pytest.raises(InvalidRequest):
        await first
    assert await other == ("miss", ANSWER)


async def test_who_inherits_a_call_is_not_held_to_the_time_of_the_one_that_left() -> None:
    """What the first had asked for is paid all the same."""
    rig = Rig(UpstreamTimeout("its time is up"), ANSWER)
    rig.gate.clear()
    [first] = rig.waiting(1)
    await turn()
    heir, third = a_call(), a_call()
    tasks = [asyncio.create_task(rig.ask(call)) for call in (heir, third)]
    await turn()
    first.cancel()
    await turn()
    rig.gate.set()
    assert {body for _, body in await asyncio.gather(*tasks)} == {ANSWER}
    assert (len(rig.asked), len(heir.attempts), heir.error) == (2, 2, None)
    assert (third.attempts, third.cost_nusd) == ([], 0)


async def test_nobody_waits_for_a_call_that_is_in_less_of_a_hurry() -> None:
    rig = Rig(ANSWER)
    rig.gate.clear()
    tasks = [asyncio.create_task(rig.ask(service_tier=tier)) for tier in ("flex", None, "flex")]
    await turn()
    rig.gate.set()
    assert [result for result, _ in await asyncio.gather(*tasks)] == ["miss", "miss", "coalesced"]


async def test_counts_never_go_down() -> None:
    """Or Prometheus takes the process for a new one."""
    rig = Rig(ANSWER)
    rig.gate.clear()
    tasks = rig.waiting(5)
    await turn()
    before = dict(rig.state.counts.events)
    rig.gate.set()
    await asyncio.gather(*tasks)
    after = rig.state.counts.events
    assert all(after[name] >= count for name, count in before.items())
    assert (after["miss"], after["coalesced"]) == (1, 4)


async def test_what_a_client_did_not_wait_for_is_not_saved() -> None:
    rig = Rig(ANSWER)
    await rig.ask()
    call = a_call(stream=True)
    await rig.layer(call, rig.endpoint)
    call.error = "client_gone"
    await call.closing.aclose()
    assert (rig.state.counts.events["hit"], rig.state.counts.saved_nusd) == (1, 0)


async def test_waiting_for_another_call_is_no_overhead_of_ours() -> None:
    rig, calls = Rig(ANSWER), [a_call(), a_call()]
    began_s = rig.now_s
    rig.layer.clock = lambda: rig.now_s - began_s
    rig.gate.clear()
    tasks = [asyncio.create_task(rig.ask(call)) for call in calls]
    await turn()
    rig.now_s += 7
    rig.gate.set()
    await asyncio.gather(*tasks)
    assert calls[1].waited_by(rig.now_s) == 7


async def test_a_client_that_leaves_just_as_the_answer_comes_has_left() -> None:
    rig = Rig(ANSWER, patience=Patience(1, 1, 1, 30))
    rig.gate.clear()
    [first] = rig.waiting(1)
    await turn()
    second = asyncio.create_task(rig.ask())
    await turn()
    rig.gate.set()
    while not first.done():
        await asyncio.sleep(0)
        if rig.layer._flights == {} and not second.done():
            second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_stored_answer_has_the_usage_of_the_attempt_that_gave_it() -> None:
    """With a second attempt that lost a race, the call as a whole has more."""
    rig, winner = Rig(sse_chunks("Hello!")), Attempt("a/m", "m", "a", 0.0, usage=Usage(5, 2))

    async def raced(call: Call) -> Answer:
        call.answered, call.usage = winner, Usage(10, 4)
        return Answer(200, (), "upstream", blocks=_each(sse_chunks("Hello!")))

    call = a_call(stream=True)
    answer = await rig.layer(call, raced)
    assert answer.blocks is not None
    assert [block async for block in answer.blocks]
    await call.closing.aclose()
    _, body = await rig.ask()
    assert orjson.loads(body)["usage"]["total_tokens"] == 7


async def test_nobody_waits_for_another_call_longer_than_for_its_own() -> None:
    rig = Rig(ANSWER, patience=Patience(1, 1, 1, 0.01))
    rig.gate.clear()
    first = rig.waiting(1)
    await turn()
    with pytest.raises(UpstreamTimeout):
        await rig.ask()
    rig.gate.set()
    await asyncio.gather(*first)


async def test_a_fault_of_ours_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(ANSWER)
    rig.gate.wait = _fail  # type: ignore[method-assign, assignment]
    results = await asyncio.gather(*rig.waiting(3), return_exceptions=True)
    assert all(isinstance(one, InternalError) for one in results)
    assert rig.layer._flights == {}
    assert "a fault" in caplog.text


async def test_what_is_on_its_way_when_something_is_purged_is_not_kept() -> None:
    rig = Rig(ANSWER)
    rig.gate.clear()
    [task] = rig.waiting(1)
    await turn()
    assert await rig.state.purge(Meant()) == 0
    rig.gate.set()
    assert (await task)[0] == "miss"
    assert rig.state.store.stats.entries == 0


async def _fail() -> bool:
    raise ValueError("a fault")


class _Sharing(Rig):
    """With a cache by meaning, of which nothing is audited."""

    def __init__(self, *script: Script) -> None:
        super().__init__(*script, semantic=SemanticRule(True, 60, 0.05))
        self.index = FakeIndex()
        self.state.meaning = a_meaning(index=self.index)
        prove(self.state.meaning.calibrator("search", "chat", 0.05))

    def about(self, text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}]}


async def test_an_answer_that_came_during_the_look_up_is_taken() -> None:
    rig = _Sharing(ANSWER)
    look = rig.index.nearest_then

    async def slowly(*args: Any) -> Any:
        rig.index.nearest_then = look  # type: ignore[method-assign]
        assert (await rig.ask(**rig.about("what do you know of cats")))[0] == "miss"
        return await look(*args)

    rig.index.nearest_then = slowly  # type: ignore[method-assign, assignment]
    assert (await rig.ask(**rig.about("what do you know of cats")))[0] == "exact"
    assert len(rig.asked) == 1


async def test_a_spent_quota_or_only_if_cached_gets_every_hit() -> None:
    rig = _Sharing(ANSWER)
    rig.layer.semantic = Semantic(rig.state, lambda: 0.0)  # all would be audited
    await rig.ask(**rig.about("please tell me of cats"))
    asked = rig.about("what do you know of cats")
    assert (await rig.ask(control=b"only-if-cached", **asked))[0] == "semantic"
    call = a_call()
    call.unpaid = lambda: QuotaSpent("It is spent.")
    assert (await rig.ask(call, **asked))[0] == "semantic"
    assert (await rig.ask(**asked))[0] == "miss"


async def test_whoever_got_a_spare_answer_can_complain_of_it() -> None:
    rig = _Sharing(ANSWER)
    await rig.ask(**rig.about("please tell me of cats"))
    call = a_call()
    call.id = "req_2"
    call.request.body |= rig.about("what do you know of cats")

    async def fail(call: Call) -> Answer:
        assert call.spare is not None
        answer = await call.spare()
        assert answer is not None
        call.fallback = "cache"
        return answer

    rig.layer.semantic = Semantic(rig.state, lambda: 0.0)
    assert (await rig.layer(call, fail)).body == ANSWER
    await call.closing.aclose()
    assert await rig.state.complain("search", "req_2") == 1
    assert rig.state.store.stats.entries == 0


async def test_whoever_joined_a_call_can_complain_of_its_answer() -> None:
    rig = Rig(ANSWER)
    rig.gate.clear()
    tasks = rig.waiting(1)
    await turn()
    call = a_call()
    call.request_id = "joined"
    joined = asyncio.create_task(rig.ask(call))
    await turn()
    rig.gate.set()
    await asyncio.gather(*tasks)
    assert (await joined)[0] == "coalesced"
    assert await rig.state.complain("search", "joined") == 1


async def test_what_another_team_complains_of_keeps_no_answer_from_being_stored() -> None:
    rig = Rig(ANSWER)
    rig.gate.clear()
    [task] = rig.waiting(1)
    await turn()
    assert await rig.state.complain("sales", "whatever") == 0
    rig.gate.set()
    await task
    assert rig.state.store.stats.entries == 1


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 0.9}, {"temperature": -1}, {"modalities": ["text", "audio"]}, {"web_search_options": {}}],
)
async def test_what_may_not_be_cached_at_all_is_not_looked_up_by_meaning_either(fields: dict[str, Any]) -> None:
    rig = Rig(ANSWER, semantic=SemanticRule(True, 60, 0.1))
    assert (await rig.ask(**fields))[0] == "bypass"
    assert not any(rig.state.counts.semantic.events.values())
