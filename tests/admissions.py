"""A gateway's inner half for tests of the queue: admission and route over targets that answer when they are told to,
under a clock and timers moved by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NoReturn

from proxy.call import Answer, Call, Principal
from proxy.chain.admission import Admission, AdmissionSettings
from proxy.chain.admit import Admit
from proxy.chain.catalogue import Catalogue, Fallback, Model
from proxy.chain.engine import Engine
from proxy.chain.route import Route
from proxy.errors import AtCapacity, GatewayError
from proxy.observe import Metrics
from proxy.providers import Patience
from proxy.wire.answer import ChatAnswer
from proxy.wire.chat import ChatRequest
from routing import Capacity, Fleet, Group, Router, Target
from tests.calls import PATIENCE, a_call
from tests.fakes import HandClock


class HandTimer:
    """Something that is due, until it is cancelled."""

    def __init__(self, due_at: float, run: Callable[[], None]) -> None:
        self.due_at = due_at
        self.run = run
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class HandTimers:
    """A clock, and timers that go off when it is moved past them."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.timers: list[HandTimer] = []

    def later(self, delay_s: float, run: Callable[[], None]) -> HandTimer:
        self.timers.append(HandTimer(self.clock.now + delay_s, run))
        return self.timers[-1]

    @property
    def pending(self) -> list[HandTimer]:
        return [timer for timer in self.timers if not timer.is_cancelled]

    async def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each timer on the way."""
        end = self.clock.now + seconds
        while due := [timer for timer in self.pending if timer.due_at <= end]:
            first = min(due, key=lambda timer: timer.due_at)
            self.clock.now = max(self.clock.now, first.due_at)
            self.timers.remove(first)
            first.run()
            await settle()
        self.clock.now = end
        await settle()


async def settle() -> None:
    """Let everything happen that can happen without time going by."""
    for _ in range(12):
        await asyncio.sleep(0)


class GatedProvider:
    """A Provider each of whose answers waits until the test lets it go."""

    name = "p"

    def __init__(self) -> None:
        self.started: list[str] = []  #: calls by name, in the order in which they came here
        self.under_way: dict[str, tuple[str, asyncio.Future[Exception | None]]] = {}  #: call -> target's model, its end
        self.peak: dict[str, int] = {}  #: by the target's model: most calls at once
        self.on_start: Callable[[str], None] = lambda name: None

    def standings(self) -> Sequence[tuple[str, str]]:
        return []

    async def answer(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer:
        name = str(request.body["user"])
        end: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.on_start(name)
        self.started.append(name)
        self.under_way[name] = model, end
        self.peak[model] = max(self.peak.get(model, 0), sum(at == model for at, _ in self.under_way.values()))
        try:
            failure = await end
        finally:
            del self.under_way[name]
        if failure is not None:
            raise failure
        return ChatAnswer(b"{}", None)

    async def open_stream(self, model: str, request: ChatRequest, patience: Patience) -> NoReturn:
        raise AssertionError("these calls do not stream")

    async def aclose(self) -> None:
        return None


class House:
    """Models over targets of so many places each, and the calls that tests send there."""

    def __init__(
        self,
        models: Mapping[str, Mapping[str, int | None]],
        *,
        concurrency: int = 1000,
        queue: int = 1000,
        max_wait_s: float = 10.0,
        fallbacks: Mapping[str, tuple[Fallback, ...]] | None = None,
    ) -> None:
        """`models`: name -> target's model -> attempts at once. Every target is called `p/` and its model's name."""
        self.time = HandTimers()
        self.metrics = Metrics()
        self.fleet = Fleet()
        self.provider = GatedProvider()
        self.settings = AdmissionSettings(concurrency, queue, max_wait_s)
        self.admission = Admission(self.settings, self.fleet, self.metrics, self.time.clock, self.time.later)
        groups = {
            model: Group(
                [Target(f"p/{at}", "p", at, capacity=Capacity(concurrency=most)) for at, most in group.items()]
            )
            for model, group in models.items()
        }
        catalogue = Catalogue([Model(name, (), PATIENCE, 15, (fallbacks or {}).get(name, ())) for name in models])
        router = Router(groups, self.fleet)
        engine = Engine(router, {"p": self.provider}, self.metrics, self.time.clock, Random(1))
        self.route = Route(engine, catalogue, self.metrics)
        self.admit = Admit(self.admission, catalogue)
        self.calls: dict[str, Call] = {}
        self.results: dict[str, Answer | GatewayError | None] = {}  #: by the call's name; None: its client left
        self.past: set[str] = set()  #: the calls past admission
        self.most_past = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()

    def send(self, name: str, model: str = "chat", priority: int = 5, headers: Mapping[bytes, bytes] = {}) -> None:
        """A call comes in; it gets its first turn when the event loop next runs."""
        call = a_call(model, headers=dict(headers), principal=Principal("search", "ci", None, priority=priority))
        call.received_at = self.time.clock.now
        call.request = replace(call.request, body={**call.request.body, "user": name})
        self.calls[name] = call
        self.tasks[name] = asyncio.create_task(self._run(name, call))

    async def _run(self, name: str, call: Call) -> None:
        async def inner(call: Call) -> Answer:
            self.past.add(name)
            self.most_past = max(self.most_past, len(self.past))
            try:
                return await self.route(call)
            except AtCapacity:
                self.past.discard(name)
                raise

        self._begun.add(name)
        try:
            result: Answer | GatewayError | None = await self.admit(call, inner)
        except GatewayError as error:
            result = error
        except asyncio.CancelledError:
            result = None
        self.results[name] = result
        self.past.discard(name)
        await call.closing.aclose()

    def end(self, name: str, failure: Exception | None = None) -> None:
        """The provider answers this call, or fails it."""
        end = self.provider.under_way[name][1]
        if not end.done():
            end.set_result(failure)

    def leave(self, name: str) -> None:
        """The client leaves."""
        self.tasks[name].cancel()
        if name not in self._begun:  # a task that never began has nothing to tell
            self.results[name] = None

    @property
    def under_way(self) -> list[str]:
        """Calls at a provider, oldest first."""
        return list(self.provider.under_way)

    def error_of(self, name: str) -> GatewayError:
        """What the call was refused with."""
        result = self.results[name]
        assert isinstance(result, GatewayError)
        return result

    def shed(self, reason: str) -> float:
        """Calls refused for this reason."""
        return self.metrics.registry.get_sample_value("llm_shed_requests_total", {"reason": reason}) or 0.0

    def is_empty(self) -> bool:
        """Is nobody inside, nobody waiting, and no timer of a waiter left?"""
        return (
            self.admission.inside == self.admission.waiting == 0
            and all(self.fleet[name].in_flight == 0 for name in self.fleet)
            and not self.admission._called
            and not self.admission._queue._lines
            and self.admission._counted == self.admission._parked == 0
        )
