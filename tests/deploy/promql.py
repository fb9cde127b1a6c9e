"""What a PromQL expression asks for: metrics, labels and their values; and what our exposition has of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from proxy.accounting.books import Books
from proxy.observe import Metrics
from proxy.wire.usage import Usage

#: Prometheus adds these to every sample.
ADDED: Final = frozenset({"job", "instance"})
_SELECTOR: Final = re.compile(r"\b(llm_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@dataclass(frozen=True)
class Selector:
    """`metric{label="value"}`."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]  #: label, operator, value


def selectors(expression: str) -> list[Selector]:
    """Every metric that is asked for."""
    return [Selector(metric, tuple(_MATCHER.findall(matchers))) for metric, matchers in _SELECTOR.findall(expression)]


def grouped_by(expression: str) -> set[str]:
    """The labels of every `by (…)`."""
    return {label.strip() for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in group.split(",")}


def is_balanced(expression: str) -> bool:
    """Does every bracket have its other half?"""
    bare, before = re.sub(r'"[^"]*"', "", expression), None
    while bare != before:
        before, bare = bare, re.sub(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}", "", bare)
    return not set("()[]{}") & set(bare)


def exposed() -> dict[str, dict[str, set[str]]]:
    """Each sample that a gateway shows once everything has happened: its name -> its labels -> their values."""
    metrics = Metrics()
    metrics.call_started(stream=True)
    metrics.call_finished(
        model="m", provider="p", team="t", status=200, duration_s=1, ttft_s=1, overhead_s=1, usage=Usage(1, 1)
    )
    metrics.call_refused(status=404, kind="not_found")
    metrics.failover("p", "kind")
    metrics.hedge("won")
    metrics.rescue("joined")
    metrics.tier_decided("m", "simple", shadow=True)
    metrics.limit_refused("t", "team_rpm")
    metrics.quota_warned("t", "usd", "50%")
    metrics.config_loaded("0123456789ab")
    metrics.watch_breakers(lambda: [("p/m", "open")])
    # The states' own names, from who counts them.
    counts = SimpleNamespace(unwritten=0, lost=0, orphaned=0, refused=0)
    states = Books.troubles(SimpleNamespace(journal=counts, ledger=counts))  # type: ignore[arg-type]
    metrics.watch_accounts(lambda: {"t": 0.5}, lambda: states)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found
