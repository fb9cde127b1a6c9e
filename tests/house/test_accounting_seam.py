"""Whatever asks a provider is accounted for: there is one way to a provider, and the books stand around it."""

from __future__ import annotations

import ast

from proxy.api.routes import client_face
from tests.gateways import Rig
from tests.house import tree

#: Where providers are asked, and nowhere else: behind every layer of the chain.
ENGINE = "proxy/chain/engine.py"
#: What a provider is asked by.
ASKING = frozenset({"open_stream", "answer"})
#: Paths that clients may POST to, and that ask no provider.
ASKS_NOBODY = frozenset({"/api/count-tokens", "/v1/cache/feedback"})


def askers(name: str, source: str) -> list[str]:
    """Calls of a provider's methods, by line."""
    return [
        f"{name}:{node.lineno}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ASKING
        and ast.unparse(node.func.value).endswith("provider")
    ]


def test_providers_are_asked_by_the_engine_alone() -> None:
    found = [place for name in tree.code() for place in askers(name, tree.text(name))]
    assert found
    assert {place.partition(":")[0] for place in found} == {ENGINE}


def test_every_route_that_may_ask_a_provider_goes_through_the_chain() -> None:
    face = client_face(Rig().gateway)
    assert set(face._asking) == {"/v1/chat/completions", "/v1/embeddings"}
    posted = {path for path, methods in face._routes.items() if "POST" in methods}
    assert posted == ASKS_NOBODY, "a new route: give it an exchange of the chain, as chat has, or name it above"


def test_the_books_stand_around_everything_that_may_refuse_or_ask() -> None:
    source = ast.unparse(ast.parse(tree.text("proxy/chain/__init__.py")))
    chat, embedding = source[source.index("layers: ") :].split("embedding: ")
    for order in (chat, embedding):
        assert order.index("trace") < order.index("bookkeeper") < order.index("auth") < order.index("spending")
        assert order.index("spending") < order.index("admit") < order.index("Intents(bookkeeper)")


def test_a_second_way_to_a_provider_is_noticed() -> None:
    assert askers("a.py", "async def f(provider):\n    await provider.answer(1)\n") == ["a.py:2"]
    assert askers("a.py", "async def f(self):\n    await self._provider.open_stream(1)\n") == ["a.py:2"]
    assert askers("a.py", "exchange.answer(1)") == []
