"""Does a provider charge what the gateway booked? By credential and by day of UTC: what both know, what only the
provider charged, what only the gateway booked. Pure: both sides are values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from proxy.accounting.provider_export import Charge, Export
from proxy.state import Charged

#: What may be left of rounding, and of calls around midnight: a tenth of a cent, or one percent of what was charged.
_SLACK_NUSD: Final = 10**6
_SLACK_PCT: Final = 1

Verdict = Literal["agrees", "differs", "provider_only", "gateway_only"]


@dataclass(frozen=True, slots=True)
class Match:
    """One credential on one day. Amounts are nano-dollars."""

    credential: str  #: the gateway's name for it, or the provider's if the gateway knows none; empty: all together
    day: str  #: in UTC
    verdict: Verdict
    provider_nusd: int
    booked_nusd: int
    low_nusd: int  #: what the gateway's calls cost at least
    high_nusd: int  #: and at most
    attempts: int

    @property
    def matched_nusd(self) -> int:
        """What both sides know."""
        return max(0, min(self.provider_nusd, self.booked_nusd))

    @property
    def provider_only_nusd(self) -> int:
        """What the provider charged and the gateway did not book."""
        return max(0, self.provider_nusd - max(self.booked_nusd, 0))

    @property
    def gateway_only_nusd(self) -> int:
        """What the gateway booked and the provider did not charge."""
        return max(0, self.booked_nusd - max(self.provider_nusd, 0))


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All days of an export."""

    matches: tuple[Match, ...]
    is_by_credential: bool  #: False: the export does not tell keys apart
    unnamed: tuple[str, ...]  #: keys of the provider for which no credential was named

    @property
    def agrees(self) -> bool:
        """Is every day within what was to be expected?"""
        return all(match.verdict == "agrees" for match in self.matches)


def reconcile(export: Export, booked: Iterable[Charged], names: Mapping[str, str]) -> Reconciliation:
    """Put both sides together. `names`: the provider's id of a key -> the gateway's of the credential.

    If each side has only one key, they are taken for the same. Only days that the export covers are looked at.
    """
    booked = [one for one in booked if one.day in export.days]
    is_by_key = any(charge.key_id for charge in export.charges)
    names = _named(export.charges, booked, names)
    charged: dict[tuple[str, str], Decimal] = {}
    for charge in export.charges:
        at = (names.get(charge.key_id, charge.key_id), charge.day)
        charged[at] = charged.get(at, Decimal(0)) + charge.nusd
    ours: dict[tuple[str, str], list[Charged]] = {}
    for one in booked:
        ours.setdefault((one.credential_id if is_by_key else "", one.day), []).append(one)
    matches = [_match(at, charged.get(at), ours.get(at, ())) for at in sorted({*charged, *ours}, key=_by_day)]
    keys = {charge.key_id for charge in export.charges if charge.key_id}
    return Reconciliation(
        tuple(match for match in matches if match is not None), is_by_key, tuple(sorted(keys - names.keys()))
    )


def _by_day(at: tuple[str, str]) -> tuple[str, str]:
    return at[1], at[0]


def _named(charges: Sequence[Charge], booked: Sequence[Charged], names: Mapping[str, str]) -> Mapping[str, str]:
    theirs = {charge.key_id for charge in charges if charge.key_id} - names.keys()
    ours = {one.credential_id for one in booked} - set(names.values())
    if len(theirs) == len(ours) == 1 and all(charge.key_id for charge in charges):
        return {**names, theirs.pop(): ours.pop()}
    return names


def _match(at: tuple[str, str], charged: Decimal | None, booked: Sequence[Charged]) -> Match | None:
    """None if there is nothing on either side."""
    provider = int((charged or Decimal(0)).to_integral_value(ROUND_HALF_EVEN))
    cost, low, high = (sum(getattr(one, name) for one in booked) for name in ("cost_nusd", "low_nusd", "high_nusd"))
    if not provider and not high and not cost:
        return None
    slack = max(_SLACK_NUSD, abs(provider) * _SLACK_PCT // 100)
    verdict: Verdict = "differs"
    if not booked:
        verdict = "provider_only"
    elif low - slack <= provider <= high + slack:
        verdict = "agrees"
    elif charged is None:
        verdict = "gateway_only"
    return Match(*at, verdict, provider, cost, low, high, sum(one.attempts for one in booked))
