"""Both ends of a call for embeddings: the cache of single inputs in front, the model's targets at the end."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import orjson
import pytest

from proxy.cache import Shelf, Store
from proxy.call import Answer, Attempt, CacheNote, Call, Principal
from proxy.chain.cache_rules import CacheRule
from proxy.chain.cache_state import CacheState
from proxy.chain.catalogue import Catalogue, Fallback, Model
from proxy.chain.embeddings import Embedders, Embedding, EmbeddingsRoute
from proxy.chain.engine import Engine
from proxy.errors import CacheMiss, InvalidRequest, QuotaSpent, UpstreamError, UpstreamUnavailable
from proxy.observe import CacheCounts, Metrics
from proxy.wire.answer import ChatAnswer
from proxy.wire.embeddings import Embeddings, EmbeddingsRequest, Input, parse_embeddings_request, read_embeddings
from proxy.wire.usage import Usage
from proxy.wire.vectors import read_vector
from routing import Group, Router, Target
from tests.calls import PATIENCE, ScriptedProvider, an_embeddings_call
from tests.fakes import embeddings


def floats(one: Input) -> list[float]:
    return [float(len(one)), 0.5]


class Rig:
    """The layer over an upstream that answers at once, 10 tokens and 70 nano-dollars an input."""

    def __init__(self, *, is_cached: bool = True) -> None:
        self.now_s = 1_790_000_000.0
        self.asked: list[EmbeddingsRequest] = []
        self.usage: Usage | None = Usage(10, 0)
        self.failure: Exception | None = None
        self.is_as_asked = True
        self.extra: list[float] = []
        self.state = CacheState(Store(10**7, Random(1)), Shelf(10**6), CacheCounts(), lambda: self.now_s)
        self.layer = Embedding({"chat": CacheRule(b"s" * 32, 60)} if is_cached else {}, self.state)

    async def upstream(self, call: Call) -> Answer:
        request = call.request
        assert isinstance(request, EmbeddingsRequest)
        self.asked.append(request)
        call.answered = Attempt("a/m", "m", "a", 0.0, cost_nusd=70 * len(request.inputs))
        call.attempts.append(call.answered)
        call.cost_nusd = call.answered.cost_nusd
        if self.failure is not None:
            raise self.failure
        count = len(request.inputs)
        document = embeddings(
            *[[*floats(one), *self.extra] for one in request.inputs],
            as_base64=request.as_base64 is self.is_as_asked,
            tokens=None if self.usage is None else self.usage.input_tokens * count,
        )
        found = read_embeddings(orjson.dumps(document), count, as_base64=request.as_base64)
        return Answer(200, (), "upstream", embeddings=found)

    async def ask(self, call: Call, *, control: bytes | None = None) -> dict[str, Any]:
        if control is not None:
            call.headers = {b"cache-control": control}
        answer = await self.layer(call, self.upstream)
        assert answer.embeddings is None
        document: dict[str, Any] = orjson.loads(answer.body)
        return document


def vectors(document: dict[str, Any]) -> list[bytes]:
    assert [entry["index"] for entry in document["data"]] == list(range(len(document["data"])))
    return [read_vector(entry["embedding"]) for entry in document["data"]]


def expected(*inputs: Input) -> list[bytes]:
    return [read_vector(floats(one)) for one in inputs]


# -- without a cache --


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_an_answer_as_asked_for_is_passed_on_untouched(form: str) -> None:
    rig = Rig(is_cached=False)
    call = an_embeddings_call("a", "bb", encoding_format=form)
    answer = await rig.layer(call, rig.upstream)
    assert answer.body == orjson.dumps(embeddings(floats("a"), floats("bb"), as_base64=form == "base64", tokens=20))
    assert call.cache is None


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_an_upstream_that_does_not_mind_the_form_is_mended(form: str) -> None:
    rig = Rig(is_cached=False)
    rig.is_as_asked = False
    document = await rig.ask(an_embeddings_call("a", "bb", encoding_format=form))
    assert document == embeddings(floats("a"), floats("bb"), as_base64=form == "base64", tokens=20)


async def test_an_upstream_without_usage_is_counted_roughly() -> None:
    rig = Rig(is_cached=False)
    rig.usage = None
    call = an_embeddings_call("a")
    tokens = call.request.size_bytes // 4
    assert (await rig.ask(call))["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


# -- from the cache --


async def test_the_second_time_nobody_is_asked_whatever_form_is_wanted() -> None:
    rig = Rig()
    first = await rig.ask(an_embeddings_call("a"))
    rig.now_s += 7
    call = an_embeddings_call("a", encoding_format="base64", user="somebody else")
    again = await rig.ask(call)
    assert len(rig.asked) == 1
    assert (vectors(first), vectors(again)) == (expected("a"), expected("a"))
    assert isinstance(again["data"][0]["embedding"], str)
    assert (again["usage"], again["model"]) == (first["usage"], first["model"])
    assert (call.cache, call.cost_nusd) == (CacheNote("exact", 7, 70), 0)
    counts = rig.state.counts
    assert (counts.events["miss"], counts.events["stored"], counts.events["hit"], counts.saved_nusd) == (1, 1, 1, 70)
    assert counts.used_bytes == rig.state.store.stats.used_bytes > 0


async def test_floats_are_the_same_from_the_provider_and_from_the_cache() -> None:
    rig = Rig()
    rig.extra = [0.1]
    assert await rig.ask(an_embeddings_call("a")) == await rig.ask(an_embeddings_call("a"))
    assert len(rig.asked) == 1


async def test_only_what_is_missing_is_asked_for_and_all_comes_in_order() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("bb", "dddd"))
    call = an_embeddings_call("a", "bb", "ccc", "dddd", "eeeee", encoding_format="base64", dimensions=None)
    document = await rig.ask(call)
    assert [request.inputs for request in rig.asked] == [["bb", "dddd"], ["a", "ccc", "eeeee"]]
    assert rig.asked[1].body["input"] == ["a", "ccc", "eeeee"]
    assert vectors(document) == expected("a", "bb", "ccc", "dddd", "eeeee")
    assert document["usage"] == {"prompt_tokens": 50, "total_tokens": 50}
    assert call.cost_nusd == 210
    assert call.cache == CacheNote("miss", saved_nusd=140)
    assert rig.state.counts.saved_nusd == 140


async def test_what_a_saved_input_had_cost_is_its_share() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("x", "xxx"))
    short, long = an_embeddings_call("x"), an_embeddings_call("xxx")
    documents = [await rig.ask(short), await rig.ask(long)]
    assert [call.cache.saved_nusd for call in (short, long) if call.cache is not None] == [35, 105]
    assert [document["usage"]["total_tokens"] for document in documents] == [5, 15]


async def test_an_input_that_occurs_twice_is_asked_for_once() -> None:
    rig = Rig()
    document = await rig.ask(an_embeddings_call("a", "bb", "a"))
    assert rig.asked[0].inputs == ["a", "bb"]
    assert vectors(document) == expected("a", "bb", "a")


async def test_tokens_are_kept_as_texts_are() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call([1, 2], [3]))
    nested = an_embeddings_call("x")
    nested.request = parse_embeddings_request(b'{"model": "chat", "input": [[1, 2]]}')
    assert vectors(await rig.ask(an_embeddings_call([3]))) == expected([3])
    assert vectors(await rig.ask(nested)) == expected([1, 2])
    assert len(rig.asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        an_embeddings_call("a", dimensions=8),
        an_embeddings_call("a", input_type="query"),
        an_embeddings_call("b"),
        an_embeddings_call([97]),
        an_embeddings_call("a", principal=Principal("sales", "ci", None)),
    ],
)
async def test_what_differs_is_asked_for(other: Call) -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    await rig.ask(other)
    assert len(rig.asked) == 2


async def test_what_is_old_or_purged_is_asked_for() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    rig.now_s += 60
    await rig.ask(an_embeddings_call("a"))
    assert rig.state.forget(lambda entry: entry.team == "search") == 1
    await rig.ask(an_embeddings_call("a"))
    assert len(rig.asked) == 3


async def test_what_set_out_before_a_purge_is_not_stored() -> None:
    rig = Rig()

    async def purging(call: Call) -> Answer:
        rig.state.forget(lambda entry: True)
        return await rig.upstream(call)

    await rig.layer(an_embeddings_call("a"), purging)
    assert rig.state.store.stats.entries == 0
    assert rig.state.counts.events["unfit"] == 1


@pytest.mark.parametrize(
    ("control", "asked", "result"),
    [
        (b"no-cache", 2, "bypass"),
        (b"no-store", 2, "bypass"),
        (b"max-age=5", 2, "miss"),
        (b"max-age=500", 1, "exact"),
        (b"only-if-cached", 1, "exact"),
    ],
)
async def test_the_client_has_its_say(control: bytes, asked: int, result: str) -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    rig.now_s += 30
    call = an_embeddings_call("a")
    await rig.ask(call, control=control)
    assert call.cache is not None
    assert (len(rig.asked), call.cache.result) == (asked, result)


async def test_nobody_is_asked_where_that_is_forbidden() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    with pytest.raises(CacheMiss):
        await rig.ask(an_embeddings_call("a", "b"), control=b"only-if-cached")
    other = an_embeddings_call("a")
    other.model = "other"
    with pytest.raises(CacheMiss):
        await rig.ask(other, control=b"only-if-cached")
    assert len(rig.asked) == 1


async def test_a_spent_quota_leaves_what_is_known() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    known, unknown = an_embeddings_call("a"), an_embeddings_call("a", "b")
    known.unpaid = unknown.unpaid = lambda: QuotaSpent("spent")
    assert vectors(await rig.ask(known)) == expected("a")
    with pytest.raises(QuotaSpent):
        await rig.ask(unknown)
    assert len(rig.asked) == 1


@pytest.mark.parametrize("fields", [{"x": "y" * 1_000_001}, {"control": b"no-store"}])
async def test_what_is_none_of_the_caches_business_is_only_counted(fields: dict[str, Any]) -> None:
    rig = Rig()
    control = fields.pop("control", None)
    await rig.ask(an_embeddings_call("a", **fields), control=control)
    assert rig.state.store.stats.entries == 0
    assert rig.state.counts.events["bypass"] == 1


async def test_a_failure_is_not_kept_and_saves_nothing() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    rig.failure = UpstreamUnavailable("down")
    call = an_embeddings_call("a", "b")
    with pytest.raises(UpstreamUnavailable):
        await rig.ask(call)
    assert (call.cache, rig.state.counts.saved_nusd) == (CacheNote("miss"), 0)
    assert rig.state.store.stats.entries == 1


async def test_vectors_of_another_size_are_not_mixed_with_those_that_are_kept() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    rig.extra = [1.0]
    with pytest.raises(UpstreamError) as caught:
        await rig.ask(an_embeddings_call("a", "b"))
    assert caught.value.should_retry is None
    document = await rig.ask(an_embeddings_call("a", "b"))
    assert {len(vector) for vector in vectors(document)} == {12}


async def test_kept_vectors_of_several_sizes_are_not_mixed_either() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a"))
    rig.extra = [1.0]
    await rig.ask(an_embeddings_call("b"))
    call = an_embeddings_call("a", "b")
    assert {len(vector) for vector in vectors(await rig.ask(call))} == {12}
    assert (call.cache, len(rig.asked), rig.state.store.stats.entries) == (CacheNote("miss"), 3, 2)


async def test_a_stranger_leaves_nothing() -> None:
    rig = Rig()
    await rig.ask(an_embeddings_call("a", principal=None))
    assert rig.state.store.stats.entries == 0


# -- the end of the chain --


def answer(*texts: str) -> ChatAnswer:
    found = Embeddings(expected(*texts), "m", Usage(3, 0))
    return ChatAnswer(b"", found.usage, embeddings=found)


def route(*providers: ScriptedProvider, lacks: str = "", fallbacks: tuple[Fallback, ...] = ()) -> EmbeddingsRoute:
    targets = [
        Target(f"{one.name}/m", one.name, "m", lacks=frozenset({"embeddings"} if one.name == lacks else ()))
        for one in providers
    ]
    router = Router({"chat": Group(targets), "large": Group(targets)})
    engine = Engine(router, {one.name: one for one in providers}, Metrics(), lambda: 0.0, Random(1))
    models = Catalogue([Model("chat", (), PATIENCE, 15, fallbacks), Model("large", (), PATIENCE, 15, ())])
    state = CacheState.empty(CacheCounts(), lambda: 0.0)
    return Embedders.over(engine, models, {}, state, lambda: 0.0).route


async def test_a_target_that_fails_makes_way_for_the_next() -> None:
    down, good = ScriptedProvider("a", [UpstreamUnavailable("down")]), ScriptedProvider("b", [answer("Hello")])
    call = an_embeddings_call("Hello")
    given = await route(down, good)(call)
    assert given.embeddings is not None
    assert given.embeddings.vectors == expected("Hello")
    assert [attempt.error for attempt in call.attempts] == ["upstream_unavailable", None]
    assert (call.usage, call.attempts[1].produced_tokens) == (Usage(3, 0), 0)


async def test_a_target_without_embeddings_is_never_asked() -> None:
    chat, good = ScriptedProvider("a", [answer("Hello")]), ScriptedProvider("b", [answer("Hello")])
    both = route(chat, good, lacks="a")
    for _ in range(4):
        await both(an_embeddings_call("Hello"))
    assert (len(chat.asked), len(good.asked)) == (0, 4)
    with pytest.raises(InvalidRequest) as caught:
        await route(chat, lacks="a")(an_embeddings_call("Hello"))
    assert (caught.value.status, caught.value.param) == (400, "model")
    assert "it asks for embeddings" in caught.value.message


async def test_another_model_is_never_asked_in_its_place() -> None:
    down = ScriptedProvider("a", [UpstreamUnavailable("down")])
    call = an_embeddings_call("Hello")
    with pytest.raises(UpstreamUnavailable):
        await route(down, fallbacks=(Fallback("unavailable", "large"),))(call)
    assert call.fallback is None
    assert {attempt.target for attempt in call.attempts} == {"a/m"}


async def test_while_many_vectors_are_written_others_have_their_turns() -> None:
    rig, turns = Rig(), 0
    rig.extra = [0.123456] * 1000
    inputs = [f"text {number}" for number in range(200)]
    await rig.ask(an_embeddings_call(*inputs))

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    document = await rig.ask(an_embeddings_call(*inputs))
    task.cancel()
    assert len(document["data"]) == 200
    assert turns >= 5
