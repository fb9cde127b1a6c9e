import asyncio
from collections.abc import Callable

import pytest

from proxy.call import Answer, Attempt, Call, Principal
from proxy.chain.admission import Admission, AdmissionSettings
from proxy.chain.admit import Admit, priority_of
from proxy.chain.catalogue import Catalogue, Model
from proxy.errors import AtCapacity, GatewayError, InvalidRequest, Overloaded, UpstreamUnavailable
from proxy.observe import Metrics
from routing import Fleet, Target
from tests.admissions import HandTimers, House, settle
from tests.calls import PATIENCE, a_call

ANSWER = Answer(200, (), "upstream")
FULL = AtCapacity("full", {"p/a": None})


class Door:
    """An Admit before a handler that does what its script says; after that it answers."""

    def __init__(self, *script: GatewayError | Callable[[Call], None] | float, concurrency: int = 10) -> None:
        """A float is slept; a function is called."""
        self.time = HandTimers()
        self.metrics = Metrics()
        self.fleet = Fleet()
        self.fleet.join([Target("p/a", "p", "a")])
        settings = AdmissionSettings(concurrency=concurrency)
        self.admission = Admission(settings, self.fleet, self.metrics, self.time.clock, self.time.later)
        self.admit = Admit(self.admission, Catalogue([Model(name, (), PATIENCE, 15, ()) for name in ("chat", "large")]))
        self.script = list(script)
        self.tries = 0

    async def _next(self, call: Call) -> Answer:
        self.tries += 1
        while self.script:
            step = self.script.pop(0)
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, GatewayError):
                raise step
            else:
                step(call)
        return ANSWER

    def ask(self, call: Call) -> asyncio.Task[Answer]:
        call.received_at = self.time.clock.now
        return asyncio.create_task(self.admit(call, self._next))


def attempted(call: Call) -> None:
    call.attempts.append(Attempt("p/a", "a", "p", 0.0, waited_s=1.0))


def with_priority(priority: int, wanted: bytes | None = None) -> Call:
    headers = {} if wanted is None else {b"x-waystation-priority": wanted}
    return a_call(headers=headers, principal=Principal("search", "ci", None, priority=priority))


async def test_a_call_with_room_goes_straight_on_and_is_inside_until_it_is_closed() -> None:
    door, call = Door(), a_call()
    assert await door.ask(call) is ANSWER
    assert door.admission.inside == 1
    await call.closing.aclose()
    assert (door.admission.inside, call.queued_s, door.time.timers) == (0, 0.0, [])


async def test_a_call_that_fails_is_inside_until_it_is_closed() -> None:
    door, call = Door(UpstreamUnavailable("down")), a_call()
    with pytest.raises(UpstreamUnavailable):
        await door.ask(call)
    assert door.admission.inside == 1
    await call.closing.aclose()
    assert door.admission.inside == 0


async def test_a_call_that_meets_full_targets_waits_until_one_has_room() -> None:
    door, call = Door(FULL), a_call()
    task = door.ask(call)
    await settle()
    assert (door.admission.waiting, door.admission.inside, task.done()) == (1, 0, False)
    door.time.clock.advance(2.0)
    assert call.waited_by(door.time.clock.now) == 2.0
    door.admission._call_next("p/a")
    assert await task is ANSWER
    assert (call.queued_s, call.queued_at) == (2.0, None)
    assert (door.tries, door.admission.inside) == (2, 1)


async def test_waiting_in_the_queue_is_no_overhead() -> None:
    call = a_call()
    call.queued_s = 3.0
    attempted(call)
    assert call.waited_by(10.0) == 4.0
    call.queued_at = 8.0
    assert call.waited_by(10.0) == 6.0


async def test_a_call_that_has_been_at_a_target_is_not_begun_anew() -> None:
    door = Door(attempted, FULL)
    with pytest.raises(AtCapacity):
        await door.ask(a_call())
    assert (door.tries, door.admission.waiting) == (1, 0)


async def test_a_call_that_waited_and_has_been_at_a_target_is_not_begun_anew() -> None:
    door = Door(FULL, attempted, FULL)
    task = door.ask(a_call())
    await settle()
    door.admission._call_next("p/a")
    with pytest.raises(AtCapacity):
        await task
    assert (door.tries, door.admission.waiting) == (2, 0)


async def test_a_place_that_only_seems_free_is_not_tried_over_and_over() -> None:
    door = Door(*[FULL] * 100)
    task = door.ask(a_call())
    await settle()
    door.admission._call_next("p/a")
    await settle()
    assert (door.tries, door.admission.waiting) == (2, 1)
    task.cancel()
    await settle()
    assert (door.admission.waiting, task.cancelled()) == (0, True)


async def test_whoever_goes_back_to_the_queue_leaves_its_room_in_the_gateway_to_others() -> None:
    door = Door(*[0.0] * 5, FULL, concurrency=1)
    first, second_call = door.ask(a_call()), a_call("large")
    await asyncio.sleep(0)
    second = door.ask(second_call)
    await asyncio.sleep(0)
    assert (door.admission.inside, door.admission.waiting) == (1, 1)
    await settle()
    assert second.done()
    assert (first.done(), door.admission.inside, door.admission.waiting) == (False, 1, 1)
    await second_call.closing.aclose()
    door.admission._call_next("p/a")
    assert await first is ANSWER


async def test_one_that_waited_is_refused_when_there_is_no_point_in_waiting_on() -> None:
    door, call = Door(FULL, AtCapacity("full", {"p/a": 30.0})), a_call()
    task = door.ask(call)
    await settle()
    door.admission._call_next("p/a")
    with pytest.raises(Overloaded) as caught:
        await task
    assert caught.value.retry_after_s == 30.0
    await call.closing.aclose()
    assert door.admission.inside == door.admission.waiting == 0


@pytest.mark.parametrize(
    ("own", "wanted", "priority"), [(5, None, 5), (5, b"0", 0), (5, b"5", 5), (5, b"9", 5), (9, b"7", 7), (0, b"3", 0)]
)
def test_a_caller_may_lower_its_priority_and_not_raise_it(own: int, wanted: bytes | None, priority: int) -> None:
    assert priority_of(with_priority(own, wanted)) == priority


@pytest.mark.parametrize("wanted", [b"", b"10", b"-1", b"high", b"5.0", b" 5", b"\xb2", b"zanzibar"])
async def test_a_priority_that_is_none_is_the_callers_fault(wanted: bytes) -> None:
    door = Door()
    with pytest.raises(InvalidRequest) as caught:
        await door.ask(with_priority(5, wanted))
    assert "x-waystation-priority" in caught.value.message
    assert "zanzibar" not in caught.value.message
    assert (caught.value.status, door.tries, door.admission.inside) == (400, 0, 0)


async def test_a_lowered_priority_goes_later() -> None:
    house = House({"chat": {"a": 1}})
    house.send("1")
    house.send("2", headers={b"x-waystation-priority": b"1"})
    house.send("3")
    for _ in range(3):
        await settle()
        house.end(house.under_way[0])
    await settle()
    assert house.provider.started == ["1", "3", "2"]
    assert house.is_empty()
