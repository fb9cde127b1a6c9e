"""Both ends of a call for embeddings. The layer in front looks each input up in the exact cache, asks for those alone
that are missing, and writes the answer as its client wants it. The route at the end asks the model that was named, and
nobody else: a fallback's vectors would be of no use beside those that the caller has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Self

from proxy.accounting import Shares
from proxy.cache import (
    MAX_REQUEST_BYTES,
    Control,
    KeptVector,
    Shared,
    Stored,
    input_key,
    input_scope,
    pack_vector,
    read_control,
)
from proxy.call import Answer, CacheNote, Call, Handler
from proxy.chain.batching import Batching
from proxy.chain.cache_rules import CacheRule
from proxy.chain.cache_state import CacheState
from proxy.chain.catalogue import Catalogue
from proxy.chain.engine import Engine, Quest, Won
from proxy.chain.facts import facts_of, input_tokens_of
from proxy.chain.looked import Further, Looked
from proxy.chain.route import JSON_HEADERS
from proxy.errors import CacheMiss, UpstreamError
from proxy.wire.embeddings import Embeddings, EmbeddingsRequest, size_of, write_embeddings

_BYPASS: Final = CacheNote("bypass")
_MISS: Final = CacheNote("miss")
_NO_SAY: Final = Control()
#: To write so much of an answer at once takes 0.3 ms as base64, 1 ms as floats.
_LONG_BYTES: Final = 250_000


@dataclass(slots=True)
class Embedding:
    """The layer behind quotas, one a world, for embeddings only."""

    rules: Mapping[str, CacheRule]  #: by configured model; those that have an exact cache
    state: CacheState
    clock: Callable[[], float] = monotonic  #: monotonic seconds

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Answer, from the cache as far as possible. Raises CacheMiss, QuotaSpent."""
        request = call.request
        assert isinstance(request, EmbeddingsRequest), "this chain is for embeddings"
        rule = self.rules.get(call.model)
        control = read_control(call.headers) if self.rules else _NO_SAY
        if rule is not None:
            call.cache = _BYPASS
            looked = self._look_up(call, request, rule, control)
            if looked is not None:
                if self.state.shared is not None and self.state.shared.is_fleetwide and control.may_find:
                    await self._look_further(self.state.shared, call, rule, control, looked, request.inputs)
                return await self._complete(call, request, rule, control, looked, next)
            self.state.counts.events["bypass"] += 1
        _check_asking(call, control)
        return await _as_asked(request, call, (await next(call)).embeddings)

    def prefetch(self, call: Call) -> None:
        """See `Caching.prefetch`."""
        rule, shared, request = self.rules.get(call.model), self.state.shared, call.request
        if rule is None or shared is None or not shared.is_fleetwide or not isinstance(request, EmbeddingsRequest):
            return
        control = read_control(call.headers)
        looked = self._look_up(call, request, rule, control) if control.may_find else None
        if looked is not None and (missing := [*looked.missing(request.inputs)]):
            finding = asyncio.ensure_future(shared.find_vectors(_team_of(call), missing))
            call.sought = Further(call.model, self.state.purges, finding)
            call.closing.callback(finding.cancel)

    def _look_up(self, call: Call, request: EmbeddingsRequest, rule: CacheRule, control: Control) -> Looked | None:
        """None: it is none of the cache's business."""
        if not control.may_store or request.size_bytes > MAX_REQUEST_BYTES:
            return None
        scope = input_scope(rule.scope, _team_of(call), request.body)
        if scope is None:
            return None
        looked = Looked([input_key(scope, one) for one in request.inputs])
        if not control.may_find:
            return looked
        now_s = looked.stored_at = self.state.wall_clock()
        for key in looked.keys:
            entry = self.state.store.find(key, now_s, rule.ttl_s)
            if entry is not None and now_s - entry.stored_at <= control.max_age_s:
                looked.take(key, entry)
        if looked.differs:
            self._forget(call, rule, ())
            return Looked(looked.keys)
        return looked

    async def _look_further(
        self,
        shared: Shared,
        call: Call,
        rule: CacheRule,
        control: Control,
        looked: Looked,
        inputs: Sequence[str | list[int]],
    ) -> None:
        """What memory does not have, other replicas may have been given."""
        further, purges, team = call.sought, self.state.purges, _team_of(call)
        if isinstance(further, Further) and further.model == call.model:
            found, purges = await further.finding, further.purges
        else:
            missing = [*looked.missing(inputs)]
            found = await shared.find_vectors(team, missing) if missing else {}
        if self.state.has_purged(purges, team):
            return
        now_s = self.state.wall_clock()
        for key, entry in found.items():
            age_s = now_s - entry.stored_at
            if entry.scope == rule.scope and age_s < rule.ttl_s and age_s <= control.max_age_s:
                self.state.store.add(key, entry)
                looked.take(key, entry)
        self.state.counts.used_bytes = self.state.store.stats.used_bytes
        if looked.differs:
            self._forget(call, rule, [*looked.found])
            looked.clear(now_s)

    async def _complete(
        self,
        call: Call,
        request: EmbeddingsRequest,
        rule: CacheRule,
        control: Control,
        looked: Looked,
        next: Handler,
    ) -> Answer:
        counts, missing, purges = self.state.counts, looked.missing(request.inputs), self.state.purges
        set_out_at = self.clock()
        if not missing:
            counts.events["hit"] += 1
            counts.saved_nusd += looked.saved_nusd
            age_s = max(0, int(self.state.wall_clock() - looked.stored_at))
            call.cache, call.cost_nusd = CacheNote("exact", age_s, looked.saved_nusd), 0
            return await _assembled(request, looked, "cache:exact")
        _check_asking(call, control)
        counts.events["miss" if control.may_find else "bypass"] += 1
        call.cache = _MISS if control.may_find else _BYPASS
        is_whole = len(missing) == len(request.inputs)
        if not is_whole:
            call.request = request.only(list(missing.values()))
        fresh = (await next(call)).embeddings
        assert fresh is not None, "whoever answers a request for embeddings gives some"
        if any(len(kept.vector) != len(fresh.vectors[0]) for kept in looked.found.values()):
            self._forget(call, rule, [*looked.found])
            raise _no_match(call.model)
        kept = dict(zip(missing, _kept_of(call, fresh), strict=True))
        is_kept = self._keep(call, rule, kept, purges, self.clock() - set_out_at)
        counts.events["stored" if is_kept else "unfit"] += 1
        if is_whole and request.as_base64:  # floats are to be what they are when they come from the cache
            return await _as_asked(request, call, fresh)
        call.cache = CacheNote(call.cache.result, saved_nusd=looked.saved_nusd)
        counts.saved_nusd += looked.saved_nusd
        looked.found.update(kept)
        return await _assembled(request, looked, "upstream")

    def _forget(self, call: Call, rule: CacheRule, keys: Sequence[bytes]) -> None:
        """The model's vectors have changed their size: what is kept of it is another model's. `keys`: of what other
        replicas would be given.
        """
        self.state.forget(lambda entry: entry.scope == rule.scope)
        if self.state.shared is not None:
            self.state.shared.forget_vectors(_team_of(call), keys)

    def _keep(
        self, call: Call, rule: CacheRule, fresh: Mapping[bytes, KeptVector], purges: int, under_way_s: float
    ) -> bool:
        """Store what came, by key; was there room for any of it? `purges`: as many as there had been at first."""
        store, principal, now_s = self.state.store, call.principal, self.state.wall_clock()
        if principal is None or self.state.has_purged(purges, principal.team):
            return False
        request, added = call.request, dict[bytes, Stored]()
        assert isinstance(request, EmbeddingsRequest)
        cost_nusd = 0 if call.answered is None else call.answered.cost_nusd or 0
        costs = Shares(list(map(size_of, request.inputs))).split(cost_nusd)
        for (key, kept), cost in zip(fresh.items(), costs, strict=True):
            entry = Stored(
                pack_vector(kept), principal.team, call.model, rule.scope, call.id, call.request_id, "", now_s, cost
            )
            if store.add(key, entry):
                added[key] = entry
        self.state.counts.used_bytes = store.stats.used_bytes
        if added and self.state.shared is not None:
            self.state.shared.add_vectors(added, rule.ttl_s, under_way_s)
        return bool(added)


class EmbeddingsRoute:
    """The end of the chain: asks the targets of the call's model, until one answers."""

    def __init__(self, engine: Engine, catalogue: Catalogue) -> None:
        self._engine = engine
        self._catalogue = catalogue

    async def __call__(self, call: Call, /) -> Answer:
        """Vectors, of which the layer in front makes a body. Raises the last failure when nothing is left to try."""
        model = self._catalogue[call.model]
        quest = Quest(call, model, call.request, facts_of(call, model), model.retries.max_attempts)
        won = await self._engine.pursue(quest)
        if not isinstance(won, Won):
            self._engine.gave_up(quest)
            raise won
        return Answer(200, JSON_HEADERS, "upstream", embeddings=won.embeddings)


@dataclass(frozen=True, slots=True)
class Embedders:
    """The layers that only embeddings go through."""

    cached: Embedding
    batching: Batching
    route: EmbeddingsRoute

    @classmethod
    def over(
        cls,
        engine: Engine,
        catalogue: Catalogue,
        rules: Mapping[str, CacheRule],
        state: CacheState,
        clock: Callable[[], float],
    ) -> Self:
        """Those of one world. `rules`: of models that have an exact cache; `clock` gives monotonic seconds."""
        return cls(Embedding(rules, state, clock), Batching(catalogue, clock), EmbeddingsRoute(engine, catalogue))


async def _as_asked(request: EmbeddingsRequest, call: Call, embeddings: Embeddings | None) -> Answer:
    """What came, as it was asked for."""
    assert embeddings is not None, "whoever answers a request for embeddings gives some"
    body = embeddings.body
    if not body:
        tokens = _tokens_of(call, embeddings)
        body = await _written(request, embeddings.vectors, embeddings.model, tokens)
    return Answer(200, JSON_HEADERS, "upstream", body=body)


async def _assembled(request: EmbeddingsRequest, looked: Looked, source: str) -> Answer:
    """All inputs, some or all of them from the cache."""
    kept = [looked.found[key] for key in looked.keys]
    tokens = sum(one.tokens for one in kept)
    body = await _written(request, [one.vector for one in kept], kept[-1].model, tokens)
    return Answer(200, JSON_HEADERS, source, body=body)


async def _written(request: EmbeddingsRequest, vectors: Sequence[bytes], model: str, tokens: int) -> bytes:
    """As the client wants it. 2,048 vectors as floats take 0.2 s: others have their turns in between."""
    parts = []
    for part in write_embeddings(vectors, model, tokens, as_base64=request.as_base64):
        parts.append(part)
        if len(part) > _LONG_BYTES:
            await asyncio.sleep(0)
    return b"".join(parts)


def _kept_of(call: Call, fresh: Embeddings) -> list[KeptVector]:
    """What came, one by one; of its tokens nobody knows more than the sum, so they are split by size."""
    request = call.request
    assert isinstance(request, EmbeddingsRequest)
    tokens = Shares(list(map(size_of, request.inputs))).split(_tokens_of(call, fresh))
    return [KeptVector(*one) for one in zip(fresh.vectors, [fresh.model] * len(tokens), tokens, strict=True)]


def _tokens_of(call: Call, embeddings: Embeddings) -> int:
    """As the upstream counted them, or else roughly."""
    return input_tokens_of(call.request) if embeddings.usage is None else embeddings.usage.input_tokens


def _team_of(call: Call) -> str:
    return "" if call.principal is None else call.principal.team


def _no_match(model: str) -> UpstreamError:
    error = UpstreamError(
        f"The vectors of the model '{model}' are not of the size that they had before. Those are forgotten: try again."
    )
    error.should_retry, error.may_be_billed = None, True
    return error


def _check_asking(call: Call, control: Control) -> None:
    """May a provider be asked for this call? Raises what is in the way."""
    if control.only_if_cached:
        raise CacheMiss(
            "Not all of these inputs have a stored vector, and 'cache-control: only-if-cached' forbids asking for one."
        )
    if call.unpaid is not None:
        raise call.unpaid()
