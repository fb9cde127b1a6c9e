"""Answers to questions that mean the same: for models with `cache: {semantic: …}`, behind the exact cache.

What is near is judged beside the event loop; the calibrator says which of it may be served, so that the share of wrong
hits stays within `max_error`. Whatever is not served teaches: the fresh answer is held against the cached one. In
`mode: shadow` nothing is served, and all of it is counted and learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from proxy.cache import Stored
from proxy.cache.meaning import Seen
from proxy.cache.nearest import LookupFailed
from proxy.cache.semantic.calibrate import LADDER, Calibrator
from proxy.cache.semantic.eligible import ineligible, question, scope_key
from proxy.call import Call
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.cache_state import CacheState
from proxy.state import Indexed


@dataclass(frozen=True, slots=True)
class Sought:
    """One question that was looked up."""

    scope_key: bytes
    text: str
    seen: Seen
    stored: Stored | None  #: the answer of what matches best; None if there is none
    calibrator: Calibrator
    purges: int  #: so many there had been when it was found, see `CacheState.purges`


class Semantic:
    """What the cache layer asks about meanings."""

    def __init__(self, state: CacheState, draw: Callable[[], float]) -> None:
        """`draw` gives numbers from 0 to 1 by chance."""
        self._state = state
        self._counts = state.counts.semantic
        self._draw = draw

    async def seek(
        self, call: Call, rule: CacheRule, terms: SemanticRule, team: str, max_age_s: float
    ) -> Sought | None:
        """Look the call's question up; None if it is none to be looked up, or that fails."""
        reason = ineligible(call.request)
        place = None if reason is not None else scope_key(rule.scope, team, call.request)
        if place is None:
            self._counts.events["ineligible"] += 1
            self._counts.ineligible[reason or "deep"] += 1
            return None
        meaning = self._state.meaning
        if meaning is None:
            self._counts.events["closed"] += 1
            return None
        text, now_s = question(call.request), self._state.wall_clock()
        try:
            seen = await meaning.look(place, text, now_s)
        except LookupFailed as failure:
            self._counts.events[failure.reason] += 1
            return None
        stored, purges = None, self._state.purges
        if seen.match is not None:
            self._counts.vetoes.update(seen.match.vetoes)
            stored = await self._state.find(team, seen.match.entry_id, rule, now_s)
            if stored is None:
                if not self._state.is_blind:
                    meaning.index.remove([seen.match.entry_id])
            elif now_s - stored.stored_at > min(terms.ttl_s, max_age_s):
                stored = None
        return Sought(place, text, seen, stored, meaning.calibrator(team, call.model, terms.max_error), purges)

    def decide(self, sought: Sought, terms: SemanticRule, *, may_ask: bool = True) -> Stored | None:
        """The answer to be served, or None. Once for each that was sought. `may_ask`: else nobody can be asked, and
        nothing is audited.
        """
        match, events = sought.seen.match, self._counts.events
        if match is None or sought.stored is None:
            events["miss"] += 1
        elif match.vetoes:
            events["vetoed"] += 1
        elif not sought.calibrator.serves(match.probability):
            events["miss"] += 1
        elif not terms.is_serving:
            events["would_hit"] += 1
        elif may_ask and sought.calibrator.audits(self._draw()):
            events["audited"] += 1
        else:
            events["hit"] += 1
            self._counts.saved_s += sought.stored.streamed_s
            if self._state.meaning is not None:
                self._state.meaning.index.touch(match.entry_id)
            return sought.stored
        return None

    def indexed(self, sought: Sought, fresh: Stored, terms: SemanticRule) -> Indexed | None:
        """What other replicas find the question by, now that it has an answer of its own; None: there are none."""
        meaning, shared = self._state.meaning, self._state.shared
        if meaning is None or shared is None or not shared.is_fleetwide:
            return None
        expires_at = fresh.stored_at + terms.ttl_s
        return Indexed(fresh.scope, meaning.index.pack(sought.scope_key, sought.text, sought.seen.vector, expires_at))

    def landed(self, sought: Sought, key: bytes, fresh: Stored, terms: SemanticRule, is_kept: bool) -> None:
        """The question got an answer of its own: learn from it, and let it be found."""
        meaning = self._state.meaning
        if meaning is None:
            return
        if is_kept:
            meaning.index.add(
                sought.scope_key,
                key,
                sought.text,
                sought.seen.vector,
                team=fresh.team,
                expires_at=fresh.stored_at + terms.ttl_s,
                now=fresh.stored_at,
            )
        match, stored = sought.seen.match, sought.stored
        if match is None or stored is None or match.vetoes:
            return
        if match.probability >= sought.calibrator.least:
            texts = _text_of(fresh), _text_of(stored)
            meaning.learn(sought.calibrator, match.probability, *texts, is_served=terms.is_serving)

    async def spare(self, sought: Sought, rule: CacheRule) -> Stored | None:
        """The best there is, for when nobody else answers: more likely right than not."""
        match = sought.seen.match
        if match is None or match.vetoes or match.probability < LADDER[0]:
            return None
        stored = sought.stored
        if stored is not None and self._state.has_purged(sought.purges, stored.team):  # it may be what was meant
            return await self._state.find(stored.team, match.entry_id, rule, self._state.wall_clock())
        return stored


def _text_of(stored: Stored) -> str:
    """Of a stored completion, which has text in a single choice."""
    text: str = orjson.loads(stored.body)["choices"][0]["message"]["content"]
    return text
