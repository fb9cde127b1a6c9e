"""A Route over scripted providers, without sockets and without a real clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from proxy.call import Answer, Call
from proxy.chain.catalogue import Catalogue, Fallback, Model
from proxy.chain.engine import Engine
from proxy.chain.route import Route
from proxy.errors import Cause, GatewayError, UpstreamRejected, UpstreamUnavailable
from proxy.observe import Metrics
from proxy.providers import Patience
from proxy.wire.answer import ChatAnswer
from proxy.wire.usage import Usage
from routing import Group, Router, Target
from tests.calls import PATIENCE, ScriptedProvider, a_call

OK = ChatAnswer(b'{"ok":true}', Usage(5, 2))
DOWN = UpstreamUnavailable("down")


class Bench:
    """A Route over scripted providers: model `chat` over those named, each with a model of its own name."""

    def __init__(
        self,
        providers: Sequence[ScriptedProvider],
        fallbacks: Sequence[Fallback] = (),
        large: ScriptedProvider | None = None,
        patience: Patience = PATIENCE,
        contexts: Sequence[int | None] = (),
        is_rescued: bool = False,
        is_hedged: bool = False,
        router: type[Router] = Router,
    ) -> None:
        self.metrics = Metrics()
        self.now = 0.0
        sizes = [*contexts, *[None] * len(providers)]
        asked = [Target(f"{p.name}/m", p.name, "m", context_tokens=sizes[at]) for at, p in enumerate(providers)]
        targets = {"chat": Group(asked)}
        least = min((size for size in contexts if size is not None), default=None)
        chat = Model("chat", (), patience, 15, tuple(fallbacks), is_rescued=is_rescued, is_hedged=is_hedged)
        models = [replace(chat, is_chosen=least is not None, least_context=least)]
        everyone = list(providers)
        if large is not None:
            targets["large"] = Group([Target(f"{large.name}/l", large.name, "l")])
            models.append(Model("large", (), patience, 15, ()))
            everyone.append(large)
        self.providers = {p.name: p for p in everyone}
        self.slept: list[float] = []
        self.router = router(targets)
        engine = Engine(self.router, self.providers, self.metrics, lambda: self.now, Random(1), self._sleep)
        self.route = Route(engine, Catalogue(models), self.metrics, wall_clock=lambda: 1_700_000_000.0)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def ask(self, call: Call | None = None) -> tuple[Call, Answer | GatewayError]:
        call = call or a_call()
        try:
            return call, await self.route(call)
        except GatewayError as error:
            return call, error


def rejected(cause: Cause | None, status: int = 400) -> UpstreamRejected:
    return UpstreamRejected(status, "no", type="t", code="c", param=None, cause=cause)
