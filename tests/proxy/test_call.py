import asyncio

import pytest

from proxy.call import Answer, Attempt, Call, Closing, Handler, Principal, chain
from tests.calls import a_call


class Layer:
    """Notes when it is passed, on the way in and on the way out."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self._name = name
        self._seen = seen

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        self._seen.append(f"{self._name} in")
        answer = await next(call)
        self._seen.append(f"{self._name} out")
        return answer


async def test_the_first_layer_is_the_outermost() -> None:
    seen: list[str] = []

    async def endpoint(call: Call) -> Answer:
        seen.append("endpoint")
        return Answer(200, (), "upstream")

    handler = chain([Layer("a", seen), Layer("b", seen)], endpoint)
    assert (await handler(a_call())).status == 200
    assert seen == ["a in", "b in", "endpoint", "b out", "a out"]


async def test_a_chain_without_layers_is_its_endpoint() -> None:
    async def endpoint(call: Call) -> Answer:
        return Answer(204, (), "upstream")

    assert (await chain([], endpoint)(a_call())).status == 204


def test_waiting_is_the_sum_over_all_attempts() -> None:
    call = a_call()
    assert call.waited_by(9.0) == 0
    call.attempts += [Attempt("a/m", "m", "a", 0.0, waited_s=1.5), Attempt("b/m", "m", "b", 2.0, waited_s=0.25)]
    assert call.waited_by(9.0) == 1.75


def test_attempts_side_by_side_are_waited_for_once() -> None:
    call = a_call()
    call.attempts += [Attempt("a/m", "m", "a", 1.0, waited_s=3.0), Attempt("b/m", "m", "b", 2.0, waited_s=1.0)]
    assert call.waited_by(9.0) == 3.0
    call.attempts.append(Attempt("c/m", "m", "c", 6.0))
    assert call.waited_by(8.0) == 5.0
    assert call.waited_by(5.0) == 3.0  # what began later is not waited for yet


def test_the_attempt_that_answered_comes_before_the_latest() -> None:
    assert a_call().last_attempt is None
    call = a_call()
    call.attempts += [Attempt("a/m", "m", "a", 1.0), Attempt("b/m", "m", "b", 2.0)]
    assert call.last_attempt is call.attempts[1]
    call.answered = call.attempts[0]
    assert call.last_attempt is call.attempts[0]


def test_a_principal_without_a_list_may_use_every_model() -> None:
    assert Principal("t", "k", None).may_use("chat")
    assert Principal("t", "k", frozenset({"chat"})).may_use("chat")
    assert not Principal("t", "k", frozenset({"chat"})).may_use("large")


async def test_what_was_registered_last_is_returned_first() -> None:
    call, seen = a_call(), list[str]()
    call.closing.callback(seen.append, "first taken")
    call.closing.callback(seen.append, "last taken")
    await call.closing.aclose()
    assert seen == ["last taken", "first taken"]


async def test_what_fails_or_is_cancelled_keeps_no_other_from_being_returned() -> None:
    closing, seen = Closing(), list[str]()

    async def give_back(name: str) -> None:
        await asyncio.sleep(0)
        seen.append(name)

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("hung")

    def fail(name: str) -> None:
        seen.append(name)
        raise ValueError(name)

    closing.push_async_callback(give_back, "taken first")
    closing.callback(fail, "second")
    closing.push_async_callback(hang)
    closing.callback(fail, "fourth")
    task = asyncio.create_task(closing.aclose())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(ValueError, match="second") as raised:
        await task
    assert seen == ["fourth", "hung", "second", "taken first"]
    assert isinstance(raised.value.__context__, asyncio.CancelledError)
    await closing.aclose()
    assert len(seen) == 4


async def test_what_is_registered_while_all_is_being_returned_is_returned_too() -> None:
    closing, seen = Closing(), list[str]()
    closing.callback(lambda: closing.callback(seen.append, "late"))
    await closing.aclose()
    assert seen == ["late"]
