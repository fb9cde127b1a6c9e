"""Every call of a known key is written down: that it was let in, before a provider is asked, and once what it came to,
before the last byte of its answer goes out. What is asked for quotas is counted from the same entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.accounting import Quotas
from proxy.call import Answer, Call, Handler
from proxy.chain.scale import Scale
from proxy.chain.settlement import settlement_of
from proxy.chain.tags import TagReader
from proxy.state import Intent, Payer, Settlement


class Journal(Protocol):
    """See `proxy.accounting.journal.Journal`."""

    @property
    def has_room(self) -> bool: ...

    def intend(self, intent: Intent) -> int: ...

    def settle(self, settlement: Settlement) -> int: ...

    async def written(self, token: int) -> bool: ...


class Bookkeeper:
    """The layer around auth: whatever becomes of a call, it is settled once, if its key was good."""

    def __init__(
        self,
        journal: Journal | None,
        quotas: Quotas,
        scales: Mapping[str, Scale],
        cost_centers: Mapping[str, str],
        tags: TagReader,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """`journal`: None keeps no books, and counts for quotas alone. `scales` by model, `cost_centers` by team.
        `clock` gives monotonic seconds, `wall_clock` Unix time.
        """
        self._journal = journal
        self._quotas = quotas
        self._scales = scales
        self._cost_centers = cost_centers
        self._tags = tags
        self._clock = clock
        self._wall_clock = wall_clock
        self._payers: dict[tuple[str, str], Payer] = {}

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Go on, and see to the end."""
        call.began_at = int(self._wall_clock() * 1000) / 1000
        call.counted_at = self._quotas.counted_at(call.began_at)
        call.record = self._record
        call.closing.callback(self._settle, call)
        return await next(call)

    def intend(self, call: Call) -> None:
        """A provider is about to be asked."""
        if self._journal is not None:
            self._journal.intend(self.intent_of(call))

    def intent_of(self, call: Call) -> Intent:
        """What is written down of it then."""
        scale = self._scales[call.model]
        input_tokens, output_tokens = scale.tokens(call)
        return Intent(
            call.id,
            call.request_id,
            round(call.began_at * 1000),
            self._payer(call),
            call.model,
            call.request.stream,
            scale.ceiling.nusd(input_tokens, output_tokens, call.began_at),
            input_tokens,
            output_tokens,
        )

    async def _record(self, call: Call) -> None:
        token = self._settle(call)
        if token and self._journal is not None:
            await self._journal.written(token)

    def _settle(self, call: Call) -> int:
        """Once; 0 if there is nothing to wait for."""
        if call.booked_nusd is not None or call.principal is None:
            return 0
        began_ms, duration_s = round(call.began_at * 1000), self._clock() - call.received_at
        max_tokens = 0, 0
        if not all(one.usage for one in call.attempts):  # only what is guessed is bounded
            max_tokens = self._scales[call.model].tokens(call)
        entry = settlement_of(call, self._payer(call), began_ms, duration_s, max_tokens)
        nusd = tokens = 0
        for one in entry.attempts:
            nusd += one.cost_nusd
            tokens += one.tokens
        call.booked_nusd = nusd
        payer, token = entry.payer, 0 if self._journal is None else self._journal.settle(entry)
        claim = call.claim
        if claim is None or not claim.settle(call, nusd, tokens):
            self._quotas.settled(payer.team, payer.key_name, call.model, call.counted_at, nusd, tokens)
        return token

    def _payer(self, call: Call) -> Payer:
        principal = call.principal
        assert principal is not None, "who is not known is not booked"
        team, key_name = principal.team, principal.key_name
        tags = self._tags.read(call.headers)
        if tags:
            return Payer(team, key_name, self._cost_centers.get(team, ""), tags)
        payer = self._payers.get((team, key_name))
        if payer is None:
            payer = self._payers[team, key_name] = Payer(team, key_name, self._cost_centers.get(team, ""))
        return payer


class Intents:
    """The layer behind admission: from here on a provider may be asked."""

    def __init__(self, bookkeeper: Bookkeeper) -> None:
        self._bookkeeper = bookkeeper

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Write it down, then go on."""
        self._bookkeeper.intend(call)
        return await next(call)
