"""What an operator is told without asking: a quota that runs out, a target that is left alone, a credential that a
provider refuses. Logged, counted, and sent to `notify.webhook`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from proxy.accounting import Allowance
from proxy.accounting.usd import exact_usd
from proxy.observe import Metrics

_logger = logging.getLogger(__name__)


class Alarms:
    """Tells each thing once, when it happens."""

    def __init__(
        self, metrics: Metrics, tell: Callable[[Mapping[str, object]], None], wall_clock: Callable[[], float]
    ) -> None:
        """`tell` sends an event; `wall_clock` gives Unix time."""
        self._metrics = metrics
        self._tell = tell
        self._wall_clock = wall_clock
        self._open: frozenset[str] = frozenset()  # targets whose breaker is open
        self._parked: frozenset[str] = frozenset()  # credentials that were refused

    def quota(self, allowance: Allowance, level: float) -> None:
        """So large a share of a quota is used; 1.0: a call was refused for it."""
        terms = allowance.terms
        team, key_name = terms.owner[0], terms.owner[1] if len(terms.owner) > 1 else None
        is_spent = level >= 1.0
        self._metrics.quota_warned(team, terms.name, "spent" if is_spent else f"{level:.0%}")
        _logger.warning(
            "quota '%s' of team %s%s: %s",
            terms.name,
            team,
            f", key {key_name}" if key_name is not None else "",
            "spent, calls are refused" if is_spent else f"{level:.0%} is used",
        )
        self._send(
            "quota_spent" if is_spent else "quota_warning",
            team=team,
            key=key_name,
            quota=terms.name,
            level=level,
            used=amount_of(allowance.used, terms.unit),
            size=amount_of(allowance.size, terms.unit),
            unit=terms.unit,
            period_ends=instant(allowance.end_s),
        )

    def look(self, breakers: Iterable[tuple[str, str]], credentials: Iterable[tuple[str, str, str]]) -> None:
        """See what has changed: each target with its breaker's state, each provider's credentials with their standing.
        Call it every few seconds.
        """
        opened = frozenset(target for target, state in breakers if state == "open")
        for target in sorted(opened - self._open):
            self._send("breaker_open", target=target)
        for target in sorted(self._open - opened):
            self._send("breaker_closed", target=target)
        parked = frozenset(f"{name}/{id}" for name, id, standing in credentials if standing == "parked")
        for place in sorted(parked - self._parked):
            provider, _, credential = place.rpartition("/")
            self._send("credential_refused", provider=provider, credential=credential)
        self._open, self._parked = opened, parked

    def _send(self, kind: str, **fields: object) -> None:
        self._tell({"type": kind, "at": instant(self._wall_clock()), **fields})


def amount_of(amount: int, unit: str) -> str | int:
    """Money in USD, exact, as text; tokens as a number."""
    return exact_usd(amount) if unit == "usd" else amount


def instant(at_s: float) -> str:
    """Unix time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")


def tell_of_end(task: asyncio.Task[None]) -> None:
    """For a task that never ends: log it if it does."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("housekeeping has ended: alarms are not told, or old calls not removed, any more", exc_info=error)
