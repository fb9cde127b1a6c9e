"""Replicas of the gateway, as far as the cache goes, on one Redis: each with a link, a level, a state and a layer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic, time
from typing import Any
from uuid import uuid4

import orjson

from proxy.cache.meaning import OpenMeaning
from proxy.cache.redis_level import RedisLevel
from proxy.call import Answer, Attempt, Call, Principal
from proxy.chain.cache import Caching
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.chain.catalogue import Catalogue, Model
from proxy.chain.embeddings import Embedding
from proxy.chain.semantic import Semantic
from proxy.config.load import load_text
from proxy.errors import GatewayError
from proxy.observe.cache_counts import CacheCounts
from proxy.state.redis_cache import RedisCache
from proxy.state.redis_cache_news import RedisCacheNews
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url
from proxy.wire.embeddings import EmbeddingsRequest, read_embeddings
from tests.calls import PATIENCE, a_call, an_embeddings_call
from tests.fakes import completion, embeddings, sse_chunks

SCOPE = b"s" * 32
CONFIG = """\
version: 1
teams:
  search: {keys: [{name: ci, key: sk-way-0123456789abcdef}]}
  sales: {keys: [{name: ci, key: sk-way-0123456789abcdeg}]}
"""
#: CI machines stall for longer than Redis may take by default; tests of that set their own.
LINK_S = 5.0


def a_namespace() -> str:
    """As no other test has it."""
    return f"t{uuid4().hex}"


def a_level(link: Link, url: str, namespace: str) -> RedisLevel:
    keys = RedisKeys(namespace)
    return RedisLevel(RedisCache(link, keys), lambda: RedisCacheNews(open_client(url), keys))


class Replica:
    """One of them. Its providers answer what `answer` says, when `gate` is open."""

    def __init__(self, link: Link, url: str, namespace: str, *, is_semantic: bool, open_meaning: OpenMeaning | None):
        self.link = link
        self.level = a_level(link, url, namespace)
        self.state = CacheState.empty(CacheCounts(), time, lambda config: self.level)
        if open_meaning is not None:
            self.state.open_meaning = open_meaning
        terms = SemanticRule(True, 600, 0.2) if is_semantic else None
        rules = {"chat": CacheRule(SCOPE, 600, semantic=terms)}
        models = Catalogue([Model("chat", (), PATIENCE, 15, ())])
        self.semantic = Semantic(self.state, lambda: 1.0)
        self.embedding = Embedding(rules, self.state)
        self.inputs: list[str] = []  #: that a provider was asked for
        self.dims = 3
        self.layer = Caching(rules, self.state, models, lambda call: None, monotonic, self.semantic)
        self.state.adapt(load_text(CONFIG, {}, "g.yaml").config, rules)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0
        self.answer: Callable[[Call], bytes | GatewayError] = lambda call: orjson.dumps(completion("Hello!"))

    async def endpoint(self, call: Call) -> Answer:
        self.asked += 1
        call.attempts.append(Attempt("a/m", "m", "a", 0.0))
        await self.gate.wait()
        call.cost_nusd = 700
        answer = self.answer(call)
        if isinstance(answer, GatewayError):
            raise answer
        if call.request.stream:
            return Answer(200, (), "upstream", blocks=_each(sse_chunks("Hel", "lo!")))
        return Answer(200, (), "upstream", answer)

    async def ask(
        self,
        content: str = "Hello",
        *,
        team: str = "search",
        stream: bool = False,
        call: Call | None = None,
        **fields: Any,
    ) -> tuple[str, bytes]:
        """How the cache fared, and the whole answer."""
        call = call or a_call(stream=stream, principal=Principal(team, "ci", None), received_at=monotonic())
        call.id = call.request_id = f"req_{uuid4().hex}"
        call.request.body |= {"messages": [{"role": "user", "content": content}], **fields}
        try:
            answer = await self.layer(call, self.endpoint)
            body = answer.body if answer.blocks is None else b"".join([block async for block in answer.blocks])
        finally:
            for step in call.on_last_byte:
                step()
            await call.closing.aclose()
        assert call.cache is not None
        return call.cache.result, body

    async def embed(self, *inputs: str, call: Call | None = None) -> tuple[str, int]:
        """How the cache fared, and how many vectors came."""
        call = call or an_embeddings_call(*inputs)
        try:
            answer = await self.embedding(call, self._embeddings)
        finally:
            await call.closing.aclose()
        assert call.cache is not None
        return call.cache.result, len(orjson.loads(answer.body)["data"])

    async def _embeddings(self, call: Call) -> Answer:
        request = call.request
        assert isinstance(request, EmbeddingsRequest)
        self.inputs += [str(one) for one in request.inputs]
        body = orjson.dumps(embeddings(*[[0.5] * self.dims] * len(request.inputs)))
        return Answer(200, (), "upstream", embeddings=read_embeddings(body, len(request.inputs), as_base64=False))

    async def written(self) -> None:
        """Returns when all that was stored is in Redis."""
        await self.level._errands.settled()

    async def die(self) -> None:
        """As if it were killed: nothing is said to anybody."""
        await self.link.aclose()


async def _each(blocks: list[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


@asynccontextmanager
async def replica(
    url: str,
    namespace: str,
    *,
    timeout_s: float = LINK_S,
    is_semantic: bool = False,
    open_meaning: OpenMeaning | None = None,
) -> AsyncGenerator[Replica]:
    """One for as long as this."""
    place = read_redis_url(url)
    assert place is not None
    link = Link(place, timeout_s)
    await link.start()
    one = Replica(link, url, namespace, is_semantic=is_semantic, open_meaning=open_meaning)
    try:
        yield one
    finally:
        await one.state.aclose()
        await link.aclose()


async def until(is_true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Returns as soon as it is true."""
    end = monotonic() + within_s
    while not is_true():
        assert monotonic() < end, f"it did not become true within {within_s:g} s"
        await asyncio.sleep(0.005)
