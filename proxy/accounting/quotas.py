"""Quotas: how much money, or how many tokens, a team or a key may use up in a day, a week or a month. Pure.

What a call may come to is reserved before it is made, in one step over all quotas that it falls under, and settled
with what it came to: so a quota is never exceeded by what was known to be possible. What was used in a period is what
the books say of it (`tally.py`), so a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from proxy.accounting.quota_terms import QuotaTerms
from proxy.accounting.tally import Tally


@dataclass(frozen=True, slots=True)
class Raise:
    """So much more of one quota of a team, until a moment."""

    team: str
    quota: str  #: see `QuotaTerms.name`
    amount: int  #: nano-dollars, or tokens
    until_s: float  #: Unix time

    def raises(self, terms: QuotaTerms, now_s: float) -> bool:
        """Is this the quota, and is it still time?"""
        return terms.owner == (self.team,) and terms.name == self.quota and now_s < self.until_s


class Allowance:
    """What has been used and reserved of one quota in the period that it is. Instants are Unix seconds."""

    __slots__ = ("begin_s", "end_s", "granted", "is_told", "reserved", "terms", "used", "warned")

    def __init__(self, terms: QuotaTerms) -> None:
        self.terms = terms
        self.granted = 0  #: on top of the cap, for a while
        self.warned = 0  #: how many of the levels have been reached in this period
        self.is_told = False  #: has it been told in this period that it is spent?
        self.begin_s = self.end_s = 0.0
        self.used = self.reserved = 0

    @property
    def size(self) -> int:
        """What may be used in this period in all."""
        return self.terms.cap + self.granted

    @property
    def ratio(self) -> float:
        """How much of it is used; what is only reserved is not."""
        return self.used / self.size

    @property
    def remaining(self) -> int:
        """What no call has reserved or used yet."""
        return max(0, self.size - self.used - self.reserved)

    def raise_by(self, granted: int) -> None:
        """From now on so much is granted: of what is larger for it the levels may be reached again."""
        if granted > self.granted:
            self.is_told = False
        self.granted = granted
        self.warned = min(self.warned, self.levels())

    def refresh(self, used: int, reserved: int) -> None:
        """What it says where many processes count together."""
        self.used, self.reserved = used, reserved

    def begin(self, begin_s: float, end_s: float, used: int) -> None:
        """A period begins, or counting does, with so much used already. What calls of before reserved is not its."""
        self.begin_s, self.end_s, self.used, self.reserved = begin_s, end_s, used, 0
        self.warned, self.is_told = self.levels(), False

    def has_room(self, amount: int) -> bool:
        """May a call use so much more? One that uses nothing always may."""
        return amount <= 0 or self.used + self.reserved + amount <= self.size

    def levels(self) -> int:
        """How many of the levels to warn at have been reached."""
        size, used = self.size, self.used
        return sum(used >= level * size for level in self.terms.warn_at)

    def news(self) -> float | None:
        """The highest level that has been reached since this was asked last; None if there is none."""
        if not self.terms.warn_at:
            return None
        reached, before = self.levels(), self.warned
        self.warned = max(reached, before)
        return self.terms.warn_at[reached - 1] if reached > before else None


class Reserve:
    """What one call holds of its allowances, until it is settled."""

    __slots__ = ("_begun", "_nusd", "_tokens", "allowances")

    def __init__(self, allowances: Sequence[Allowance]) -> None:
        self.allowances = allowances
        self._begun = [one.begin_s for one in allowances]
        self._nusd = self._tokens = 0

    def extend(self, nusd: int, tokens: int, exempt: Allowance | None = None) -> Allowance | None:
        """Reserve so much more of each: of all, or of none. Gives the one that has no room; None: it is done.

        `exempt` is taken from whether it has room or not.
        """
        for one in self.allowances:
            if one is not exempt and not one.has_room(nusd if one.terms.unit == "usd" else tokens):
                return one
        for one, begin_s in zip(self.allowances, self._begun, strict=True):
            if one.begin_s == begin_s:
                one.reserved += nusd if one.terms.unit == "usd" else tokens
        self._nusd += nusd
        self._tokens += tokens
        return None

    def release(self) -> None:
        """The call is settled: it needs this no more. A second time has no effect."""
        for one, begin_s in zip(self.allowances, self._begun, strict=True):
            if one.begin_s == begin_s:
                one.reserved -= self._nusd if one.terms.unit == "usd" else self._tokens
        self.allowances, self._begun = (), []


#: Told that so large a share of a quota is used: a level to warn at, or 1.0 when the first call was refused for it.
Warn = Callable[[Allowance, float], None]


class Quotas:
    """Every quota of one config. Outlives worlds: what is used and reserved stays when limits change."""

    def __init__(self, tally: Tally, warn: Warn) -> None:
        self.tally = tally
        self._warn = warn
        self._by_team: dict[str, list[Allowance]] = {}
        self._gates: dict[tuple[str, str, str], tuple[Allowance, ...]] = {}
        self._grants: Sequence[Raise] = ()
        self._next_s = -inf  # until then nothing begins and nothing ends

    def __iter__(self) -> Iterator[Allowance]:
        """All of them, by team, in the order of the config."""
        return (one for allowances in self._by_team.values() for one in allowances)

    def adapt(self, terms: Iterable[QuotaTerms]) -> None:
        """From now on these are the quotas."""
        known = {(one.terms.owner, one.terms.name): one for one in self}
        self._by_team, self._gates = {}, {}
        for one in terms:
            allowance = known.get((one.owner, one.name)) or Allowance(one)
            allowance.terms = one
            self._by_team.setdefault(one.owner[0], []).append(allowance)
        self._next_s = -inf

    def grant(self, grants: Sequence[Raise]) -> None:
        """From now on these raise some of them."""
        self._grants = grants
        self._next_s = -inf

    @property
    def by_team(self) -> Mapping[str, Sequence[Allowance]]:
        """The quotas of each team that has some, its keys' included."""
        return self._by_team

    def of_team(self, team: str) -> Sequence[Allowance]:
        """The quotas of a team and its keys."""
        return self._by_team.get(team, ())

    def gate(self, team: str, key_name: str, model: str) -> Sequence[Allowance]:
        """The quotas that a call falls under. O(1) but for the first of its kind."""
        place = team, key_name, model
        found = self._gates.get(place)
        if found is None:
            allowances = self._by_team.get(team, ())
            found = self._gates[place] = tuple(one for one in allowances if one.terms.covers(key_name, model))
        return found

    def ratios(self) -> dict[str, float]:
        """By team, how much it has used of the quota of which it has used most; keys' own included."""
        return {team: max(one.ratio for one in allowances) for team, allowances in self._by_team.items()}

    def advance(self, now_s: float) -> None:
        """Begin the periods, and end the grants, whose time has come. O(1) as long as there are none."""
        if now_s < self._next_s:
            return
        self.tally.roll(now_s)
        self._gates.clear()  # keys come and go
        ends = [one.until_s for one in self._grants if one.until_s > now_s]
        self._next_s = min([self.tally.bounds("day")[1], *ends])  # no week and no month ends before
        for one in self:
            begin_s, end_s = self.tally.bounds(one.terms.per)
            if one.begin_s != begin_s:
                one.begin(begin_s, end_s, self.tally.used(one.terms))
            one.raise_by(sum(grant.amount for grant in self._grants if grant.raises(one.terms, now_s)))

    def counted_at(self, now_s: float) -> float:
        """When a call counts that begins now (Unix time): now; if the clock was set back to a day that is over, as the
        present one begins.
        """
        return max(now_s, self.tally.bounds("day")[0])

    def settled(self, team: str, key_name: str, model: str, began_s: float, nusd: int, tokens: int) -> None:
        """A call came to so much: it counts where it began."""
        self.tally.add(team, key_name, model, began_s, nusd, tokens)
        for one in self.gate(team, key_name, model):
            if one.begin_s <= began_s < one.end_s:
                one.used += nusd if one.terms.unit == "usd" else tokens
                self.watch(one)

    def watch(self, allowance: Allowance) -> None:
        """Tell of the level that was reached since this was asked last."""
        level = allowance.news()
        if level is not None:
            self._warn(allowance, level)

    def spent(self, allowance: Allowance) -> None:
        """A call was refused because this is spent. Told once a period."""
        if not allowance.is_told:
            allowance.is_told = True
            self._warn(allowance, 1.0)
