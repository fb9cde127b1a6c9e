"""Calls for a single embedding that go together, over a scripted upstream, without a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from proxy.call import Answer, Attempt, Call, Principal
from proxy.chain.batching import Batching
from proxy.chain.catalogue import Catalogue, Model
from proxy.errors import (
    AtCapacity,
    GatewayError,
    InternalError,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.providers import Patience
from proxy.wire.embeddings import Embeddings, EmbeddingsRequest, Input
from proxy.wire.usage import Usage
from proxy.wire.vectors import read_vector
from routing import Outcome
from tests.calls import PATIENCE, a_call, an_embeddings_call

#: What an upstream charges for a token, in nano-dollars.
PRICE_NUSD = 7
SOON_S = 1e-9


def vector(of: Input) -> bytes:
    return read_vector([float(len(of)), float(sum(map(ord, of)) if isinstance(of, str) else sum(of))])


class Rig:
    """The layer over an upstream that is let go by hand."""

    def __init__(self, *, window_s: float = 60.0, size: int = 64, patience: Patience = PATIENCE) -> None:
        models = [
            Model(name, (), patience, 15, (), batch_window_s=window_s, batch_size=size) for name in ("chat", "other")
        ]
        self.layer = Batching(Catalogue(models), lambda: 0.0)
        self.asked: list[Call] = []
        self.gates: list[asyncio.Event] = []
        self.is_open = False
        self.failure: Callable[[EmbeddingsRequest], Exception | None] = lambda request: None
        self.reports_usage = True
        self.closed = 0

    async def upstream(self, call: Call) -> Answer:
        self.asked.append(call)
        request, gate = call.request, asyncio.Event()
        assert isinstance(request, EmbeddingsRequest)
        self.gates.append(gate)
        call.closing.callback(self._close)
        failure = self.failure(request)
        if isinstance(failure, AtCapacity):
            raise failure
        attempt = Attempt("a/m", "m", "a", 0.0)
        call.attempts.append(attempt)
        call.strategy = "round_robin"
        if not self.is_open:
            await gate.wait()
        attempt.outcome = Outcome("a/m", "ok", 0.0, 0.1)
        if failure is not None:
            attempt.error = "failed"
            raise failure
        tokens = 3 * len(request.inputs) + 1
        usage = Usage(tokens, 0) if self.reports_usage else None
        attempt.usage = call.usage = usage
        if usage is not None:
            attempt.cost_nusd = call.cost_nusd = tokens * PRICE_NUSD
        call.answered = attempt
        return Answer(200, (), "upstream", embeddings=Embeddings([vector(one) for one in request.inputs], "m", usage))

    def _close(self) -> None:
        self.closed += 1

    async def ask(self, call: Call) -> Embeddings | GatewayError:
        try:
            answer = await self.layer(call, self.upstream)
            assert answer.embeddings is not None
            return answer.embeddings
        except GatewayError as error:
            call.error = error.kind
            return error
        finally:
            await call.closing.aclose()

    def start(self, *calls: Call) -> list[asyncio.Task[Embeddings | GatewayError]]:
        return [asyncio.create_task(self.ask(call)) for call in calls]

    def inputs(self) -> list[list[Input]]:
        """What each upstream call was for."""
        return [list(call.request.inputs) for call in self.asked if isinstance(call.request, EmbeddingsRequest)]


async def turn() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def started(rig: Rig, *texts: Any, **fields: Any) -> tuple[list[Call], list[asyncio.Task[Any]]]:
    """Calls of which the first is under way, and the others wait."""
    calls = [an_embeddings_call(text, **fields) for text in texts]
    tasks = rig.start(*calls)
    await turn()
    return calls, tasks


async def test_who_is_alone_goes_at_once_and_on_its_own_call() -> None:
    rig = Rig()
    rig.is_open = True
    call = an_embeddings_call("Hello")
    found = await rig.ask(call)
    assert isinstance(found, Embeddings)
    assert rig.asked == [call]
    assert rig.layer._lanes == {}


async def test_those_that_come_meanwhile_go_together_when_it_is_back() -> None:
    rig = Rig()
    calls, tasks = await started(rig, "a", "bb", "ccc", "dddd")
    assert rig.inputs() == [["a"]]
    rig.gates[0].set()
    await turn()
    assert rig.inputs() == [["a"], ["bb", "ccc", "dddd"]]
    rig.gates[1].set()
    found = [await task for task in tasks]
    assert [one.vectors for one in found] == [[vector(text)] for text in ("a", "bb", "ccc", "dddd")]
    assert rig.layer._lanes == {}
    assert rig.closed == 2
    assert all(call.strategy == "round_robin" for call in calls)


async def test_each_has_its_share_and_together_they_are_what_was_reported() -> None:
    rig = Rig()
    calls, tasks = await started(rig, "a", "bb", "ccc", "dddd")
    for _ in range(2):
        rig.gates[-1].set()
        await turn()
    found = [await task for task in tasks]
    shares = [call.usage for call in calls[1:]]
    assert sum(usage.input_tokens for usage in shares if usage is not None) == 3 * 3 + 1
    assert [one.usage for one in found[1:]] == shares
    assert sum(call.cost_nusd or 0 for call in calls[1:]) == 10 * PRICE_NUSD
    for call in calls:
        [attempt] = call.attempts
        assert call.answered is attempt
        assert (attempt.usage, attempt.cost_nusd) == (call.usage, call.cost_nusd)
    assert len({id(call.attempts[0]) for call in calls}) == 4


async def test_without_usage_nobody_has_any() -> None:
    rig = Rig()
    rig.reports_usage = False
    calls, tasks = await started(rig, "a", "b", "c")
    rig.is_open = True
    rig.gates[0].set()
    found = [await task for task in tasks]
    assert [one.usage for one in found] == [None] * 3
    assert [(call.usage, call.cost_nusd, call.attempts[0].usage) for call in calls] == [(None, None, None)] * 3


async def test_nobody_waits_longer_than_the_window() -> None:
    rig = Rig(window_s=SOON_S)
    _, tasks = await started(rig, "a", "b", "c")
    assert rig.inputs() == [["a"], ["b", "c"]]
    for gate in rig.gates:
        gate.set()
    assert len([await task for task in tasks]) == 3


async def test_enough_for_a_batch_go_at_once() -> None:
    rig = Rig(size=2)
    _, tasks = await started(rig, *"abcdef")
    assert rig.inputs() == [["a"], ["b", "c"], ["d", "e"]]
    rig.is_open = True
    for gate in rig.gates:
        gate.set()
    assert all(isinstance(one, Embeddings) for one in await asyncio.gather(*tasks))
    assert rig.inputs()[3:] == [["f"]]


async def test_a_batch_is_no_larger_than_providers_take() -> None:
    rig = Rig()
    large = "x" * 300_000
    _, tasks = await started(rig, "a", large, large + "y")
    assert [len(inputs) for inputs in rig.inputs()] == [1, 1]
    rig.is_open = True
    for gate in rig.gates:
        gate.set()
    assert all(isinstance(one, Embeddings) for one in await asyncio.gather(*tasks))


@pytest.mark.parametrize(
    "other",
    [
        an_embeddings_call("b", principal=Principal("sales", "ci", None)),
        an_embeddings_call("b", dimensions=8),
        an_embeddings_call("b", user="u"),
        an_embeddings_call("b", encoding_format="base64"),
        an_embeddings_call([1, 2]),
        an_embeddings_call("b", "c"),
        a_call(),
    ],
)
async def test_what_is_of_another_kind_goes_by_itself(other: Call) -> None:
    rig = Rig()
    assert rig.layer is not None
    first = rig.start(an_embeddings_call("a"))
    await turn()
    task = asyncio.create_task(rig.layer(other, _silent))
    await turn()
    assert task.done()
    rig.gates[0].set()
    await first[0]


async def _silent(call: Call) -> Answer:
    return Answer(200, (), "upstream")


async def test_another_model_goes_by_itself() -> None:
    rig = Rig()
    other = an_embeddings_call("b")
    other.model = "other"
    tasks = rig.start(an_embeddings_call("a"), other)
    await turn()
    assert rig.inputs() == [["a"], ["b"]]
    for gate in rig.gates:
        gate.set()
    await asyncio.gather(*tasks)


async def test_keys_of_one_team_go_together_and_pay_apart() -> None:
    rig = Rig()
    calls = [an_embeddings_call(text, principal=Principal("search", text, None)) for text in "abc"]
    tasks = rig.start(*calls)
    await turn()
    rig.is_open = True
    rig.gates[0].set()
    await asyncio.gather(*tasks)
    assert rig.inputs() == [["a"], ["b", "c"]]
    assert all(call.cost_nusd for call in calls)


async def test_without_a_window_nobody_waits() -> None:
    rig = Rig(window_s=0.0)
    _, tasks = await started(rig, *"abc")
    assert rig.inputs() == [["a"], ["b"], ["c"]]
    for gate in rig.gates:
        gate.set()
    await asyncio.gather(*tasks)


# -- failures --


def rejected(status: int = 400) -> UpstreamRejected:
    return UpstreamRejected(status, "no", type="t", code="c", param=None)


def malformed() -> UpstreamError:
    error = UpstreamError("no vectors")
    error.is_lasting = True
    return error


@pytest.mark.parametrize("make", [rejected, malformed])
async def test_one_bad_input_fails_nobody_else(make: Callable[[], GatewayError]) -> None:
    rig = Rig()
    calls, tasks = await started(rig, "a", "b", "bad", "c")
    rig.failure = lambda request: make() if "bad" in request.inputs else None
    rig.is_open = True
    rig.gates[0].set()
    found = [await task for task in tasks]
    assert [isinstance(one, Embeddings) for one in found] == [True, True, False, True]
    assert rig.inputs() == [["a"], ["b", "bad", "c"], ["b"], ["bad"], ["c"]]
    assert [len(call.attempts) for call in calls] == [1, 2, 2, 2]
    assert calls[1].answered is calls[1].attempts[1]
    assert calls[1].cost_nusd == 4 * PRICE_NUSD


@pytest.mark.parametrize(
    "error", [UpstreamUnavailable("down"), UpstreamTimeout("slow"), rejected(429), AtCapacity("full", {})]
)
async def test_a_failure_of_the_upstreams_is_everybodys_and_is_not_multiplied(error: GatewayError) -> None:
    rig = Rig()
    _, tasks = await started(rig, "a", "b", "c")
    rig.failure = lambda request: error if len(request.inputs) > 1 else None
    rig.is_open = True
    rig.gates[0].set()
    found = [await task for task in tasks]
    assert isinstance(found[0], Embeddings)
    assert found[1:] == [error, error]
    assert len(rig.asked) == 2


async def test_who_finds_no_room_has_tried_nothing() -> None:
    rig = Rig()
    calls, tasks = await started(rig, "a", "b", "c")
    rig.failure = lambda request: AtCapacity("full", {})
    rig.gates[0].set()
    await asyncio.gather(*tasks)
    assert [call.attempts for call in calls[1:]] == [[], []]


async def test_one_alone_in_its_batch_is_not_asked_twice() -> None:
    rig = Rig()
    _, tasks = await started(rig, "a", "bad")
    rig.failure = lambda request: rejected()
    rig.is_open = True
    rig.gates[0].set()
    found = [await task for task in tasks]
    assert isinstance(found[1], UpstreamRejected)
    assert rig.inputs() == [["a"], ["bad"]]


async def test_a_fault_of_ours_is_an_answer_too() -> None:
    rig = Rig()
    _, tasks = await started(rig, "a", "b", "c")
    rig.failure = lambda request: RuntimeError("a bug")
    rig.is_open = True
    rig.gates[0].set()
    found = [await task for task in tasks]
    assert [type(one) for one in found[1:]] == [InternalError] * 2
    assert rig.layer._lanes == {}


async def test_a_first_that_fails_leaves_the_others_to_go() -> None:
    rig = Rig()
    rig.failure = lambda request: UpstreamUnavailable("down") if "a" in request.inputs else None
    _, tasks = await started(rig, "a", "b", "c")
    rig.is_open = True
    rig.gates[0].set()
    found = [await task for task in tasks]
    assert isinstance(found[0], UpstreamUnavailable)
    assert rig.inputs() == [["a"], ["b", "c"]]


# -- who leaves --


async def leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_leaves_before_the_batch_does_is_not_in_it() -> None:
    rig = Rig()
    calls, tasks = await started(rig, "a", "b", "c")
    await leave(tasks[1])
    rig.is_open = True
    rig.gates[0].set()
    await asyncio.gather(tasks[0], tasks[2])
    assert rig.inputs() == [["a"], ["c"]]
    assert calls[1].attempts == []


async def test_who_leaves_a_batch_may_have_to_pay_its_part_and_the_others_go_on() -> None:
    rig = Rig()
    calls, tasks = await started(rig, "a", "b", "c")
    rig.gates[0].set()
    await turn()
    await leave(tasks[1])
    [attempt] = calls[1].attempts
    assert (attempt.outcome, attempt.usage, attempt.may_cost) == (None, None, True)
    rig.gates[1].set()
    assert isinstance(await tasks[2], Embeddings)
    assert calls[2].usage == Usage(4, 0)  # of seven for two
    assert attempt.usage is None


async def test_the_last_to_leave_ends_the_batch() -> None:
    rig = Rig()
    _, tasks = await started(rig, "a", "b", "c")
    rig.gates[0].set()
    await turn()
    await leave(tasks[1])
    assert rig.closed == 1
    await leave(tasks[2])
    assert rig.closed == 2
    assert rig.layer._lanes == {}


async def test_a_first_that_leaves_lets_the_others_go() -> None:
    rig = Rig()
    _, tasks = await started(rig, "a", "b")
    await leave(tasks[0])
    await turn()
    assert rig.inputs() == [["a"], ["b"]]
    rig.gates[1].set()
    assert isinstance(await tasks[1], Embeddings)


async def test_nobody_waits_beyond_its_own_deadline() -> None:
    rig = Rig()
    calls = [an_embeddings_call(text) for text in "abc"]
    calls[1].headers = {b"x-stainless-read-timeout": b"0.001"}
    tasks = rig.start(*calls)
    await turn()
    rig.gates[0].set()
    await turn()
    assert isinstance(await tasks[1], UpstreamTimeout)
    assert calls[1].attempts[0].may_cost
    rig.gates[1].set()
    assert isinstance(await tasks[2], Embeddings)


async def test_a_second_attempt_must_be_covered_by_each() -> None:
    rig = Rig()
    calls = [an_embeddings_call(text) for text in "abc"]
    asked: list[Call] = []

    async def cover(call: Call, more_tokens: int) -> bool:
        asked.append(call)
        return len(asked) == 1

    calls[1].cover = calls[2].cover = cover
    tasks = rig.start(*calls)
    await turn()
    rig.gates[0].set()
    await turn()
    batch = rig.asked[1]
    assert batch.cover is not None
    assert not await batch.cover(batch, 0)
    assert asked == [batch, batch]
    rig.gates[1].set()
    await asyncio.gather(*tasks)
