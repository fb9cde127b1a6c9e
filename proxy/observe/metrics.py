"""Prometheus metrics. Every label value comes from the config or from a closed set in the code, never from a caller.

What each call touches is kept in plain numbers (`proxy/observe/series.py`) and collected for a scrape; what happens
seldom goes through prometheus_client's own counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.observe.cache_counts import CacheCounts
from proxy.observe.counts import TOKEN_TYPES, USUAL_TYPES, TokenCounts
from proxy.observe.series import (
    DURATION_BUCKETS,
    LAG_BUCKETS,
    OVERHEAD_BUCKETS,
    TTFT_BUCKETS,
    Histogram,
    Histograms,
)

#: Stands for a label value that is not known yet or that no config names.
OTHER: Final = "other"
#: Why there was no room: the queue was full; one of higher priority came; the time was up, or would have been.
ShedReason = Literal["queue_full", "displaced", "deadline", "wait_too_long"]

_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)
_BREAKER_STATES: Final[Mapping[str, int]] = {"closed": 0, "half_open": 1, "open": 2}


@dataclass(slots=True)
class _Series:
    """What is counted for one (model, provider, team, status)."""

    duration: Histogram
    ttft: Histogram
    requests: int = 0
    cost_nusd: int = 0
    uncached_tokens: int = 0
    visible_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0


class Metrics(Collector):
    """All metrics of one process, in a registry of its own. Not for other threads than the event loop's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._active = 0
        self._streams = 0
        self._series: dict[tuple[str, str, str, int], _Series] = {}
        self._duration = Histograms(DURATION_BUCKETS)
        self._ttft = Histograms(TTFT_BUCKETS)
        self._overhead = Histogram(OVERHEAD_BUCKETS)
        self._lag = Histogram(LAG_BUCKETS)
        self.cache = CacheCounts()
        self._breakers: Callable[[], Iterable[tuple[str, str]]] = tuple
        self._queued: Callable[[], int] = int
        self._quotas: Callable[[], Mapping[str, float]] = dict
        self._books: Callable[[], Mapping[str, int]] = dict
        self.registry.register(self)
        self._errors = self._counter("llm_errors", "Calls that ended in an error, by its kind.", "kind")
        self._failovers = self._counter(
            "llm_failovers", "Attempts that failed and made way for the next target.", "provider", "kind"
        )
        self._hedges = self._counter("llm_hedges", "Second attempts that raced a silent first one.", "result")
        self._rescues = self._counter("llm_rescues", "Streams that were cut and whose rest was sought.", "result")
        self._tiers = self._counter(
            "llm_tier_decisions", "Calls of models with tiers, by how hard they looked.", "model", "tier", "shadow"
        )
        self._shed = self._counter("llm_shed_requests", "Calls refused for want of room, by the reason.", "reason")
        self._limited = self._counter(
            "llm_limit_refusals", "Calls refused because a rate was used up: the team's or a key's.", "team", "limit"
        )
        text = "Levels of quotas that were reached; `spent`: a call was refused."
        self._warned = self._counter("llm_quota_warnings", text, "team", "quota", "level")
        self._reloads = self._counter("llm_config_reloads", "Attempts to load a changed config.", "result")
        self._lines_dropped = self._counter(
            "llm_log_lines_dropped", "Log lines given up because the log could not be written in time."
        )
        text = "The config in force; the hash is the value of a label."
        self._config_info = Gauge("llm_config_info", text, ("config_hash",), registry=self.registry)
        for result in ("ok", "rejected"):
            self._reloads.labels(result)
        for reason in get_args(ShedReason):
            self._shed.labels(reason)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """The plain numbers as metric families; called by the registry for a scrape."""
        yield GaugeMetricFamily("llm_active_requests", "Calls in flight.", self._active)
        yield GaugeMetricFamily("llm_queued_requests", "Calls in the queue.", self._queued())
        yield CounterMetricFamily("llm_streaming_requests", "Calls that asked for a stream.", self._streams)
        requests = CounterMetricFamily(
            "llm_requests", "Client calls that ended.", labels=("model", "provider", "team", "status")
        )
        used: dict[tuple[str, str, str, str], int] = {}
        spent: dict[tuple[str, str, str], int] = {}
        for (model, provider, team, status), series in self._series.items():
            requests.add_metric((model, provider, team, str(status)), series.requests)
            whose = (model, provider, team)
            spent[whose] = spent.get(whose, 0) + series.cost_nusd
            for part, kind in TOKEN_TYPES.items():
                count = getattr(series, part)
                if count or kind in USUAL_TYPES:
                    labels = (kind, model, provider, team)
                    used[labels] = used.get(labels, 0) + count
        yield requests
        tokens = CounterMetricFamily(
            "llm_tokens_used", "Tokens that providers reported.", labels=("type", "model", "provider", "team")
        )
        yield _filled(tokens, used.items())
        cost = CounterMetricFamily("llm_cost_usd", "What calls cost, as booked.", labels=("model", "provider", "team"))
        yield _filled(cost, ((whose, nusd * 1e-9) for whose, nusd in spent.items()))
        yield _family(
            "llm_request_duration_seconds",
            "From a call's first byte in to its last byte out.",
            ("model", "provider"),
            self._duration.all(),
        )
        yield _family(
            "llm_time_to_first_token_seconds",
            "From a streaming call's first byte in to the first byte of its answer.",
            ("model", "provider"),
            self._ttft.all(),
        )
        text = "Time spent in the gateway itself until the answer began."
        yield _family("llm_overhead_seconds", text, (), [((), self._overhead)])
        yield from self._collect_watched()
        yield _family("llm_event_loop_lag_seconds", "How late the event loop ran a timer.", (), [((), self._lag)])

    def _collect_watched(self) -> Iterator[Metric]:
        """What others keep count of."""
        text = "Whether a target is asked: 0 closed (it is), 1 half-open (one call at a time), 2 open (it is not)."
        breakers = GaugeMetricFamily("llm_breaker_state", text, labels=("target",))
        yield _filled(breakers, (((target,), _BREAKER_STATES[state]) for target, state in self._breakers()))
        text = "How much a team has used of that quota of which it has used most."
        quotas = GaugeMetricFamily("llm_quota_used_ratio", text, labels=("team",))
        yield _filled(quotas, (((team,), ratio) for team, ratio in self._quotas().items()))
        text = "Entries of the books by what became of them: in memory only; lost; given up as orphans; refused."
        books = GaugeMetricFamily("llm_books_entries", text, labels=("state",))
        yield _filled(books, (((state,), count) for state, count in self._books().items()))
        text = "Calls of models with a cache, and answers kept."
        events = CounterMetricFamily("llm_cache_events", text, labels=("tier", "result"))
        yield _filled(events, self.cache.by_tier())
        saved_usd = self.cache.saved_nusd * 1e-9
        yield CounterMetricFamily("llm_cache_saved_usd", "What answers from the cache would have cost.", saved_usd)
        yield GaugeMetricFamily("llm_cache_used_bytes", "Memory that stored answers take.", self.cache.used_bytes)

    def watch_breakers(self, read: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """From now on show these at each scrape: `read` gives each target's name and its breaker's state."""
        self._breakers = read

    def watch_queue(self, count: Callable[[], int]) -> None:
        """From now on show at each scrape how many calls wait, as `count` gives it."""
        self._queued = count

    def watch_accounts(self, quotas: Callable[[], Mapping[str, float]], books: Callable[[], Mapping[str, int]]) -> None:
        """The same for how much of its fullest quota each team has used, and for what is the matter with the books."""
        self._quotas, self._books = quotas, books

    def call_started(self, *, stream: bool) -> None:
        """Count a call in."""
        self._active += 1
        if stream:
            self._streams += 1

    def call_finished(
        self,
        *,
        model: str,
        provider: str,
        team: str,
        status: int,
        duration_s: float,
        ttft_s: float | None,
        overhead_s: float | None,
        usage: TokenCounts | None,
        cost_nusd: int = 0,
    ) -> None:
        """Count a started call out.

        `ttft_s` is None unless a stream began, `overhead_s` unless an answer did, `usage` unless providers reported it;
        `cost_nusd`: nano-dollars.
        """
        self._active -= 1
        series = self._find_series(model, provider, team, status)
        series.requests += 1
        series.cost_nusd += cost_nusd
        series.duration.observe(duration_s)
        if ttft_s is not None:
            series.ttft.observe(ttft_s)
        if overhead_s is not None:
            self._overhead.observe(overhead_s)
        if usage is not None:
            series.uncached_tokens += usage.uncached_tokens
            series.visible_tokens += usage.visible_tokens
            series.cached_tokens += usage.cached_tokens
            series.cache_write_tokens += usage.cache_write_tokens
            series.audio_input_tokens += usage.audio_input_tokens
            series.reasoning_tokens += usage.reasoning_tokens
            series.audio_output_tokens += usage.audio_output_tokens

    def call_refused(self, *, status: int, kind: str) -> None:
        """Count a request that never became a call: it was malformed, or of no known route."""
        self._find_series(OTHER, OTHER, OTHER, status).requests += 1
        self._errors.labels(kind).inc()

    def error(self, kind: str) -> None:
        """Count an error that a client was shown (or would have been, had it stayed)."""
        self._errors.labels(kind).inc()

    def shed(self, reason: ShedReason) -> None:
        """Count a call that was refused for want of room."""
        self._shed.labels(reason).inc()

    def limit_refused(self, team: str, limit: str) -> None:
        """Count a call that a limit refused: `team_rpm`, `key_tpm` …."""
        self._limited.labels(team, limit).inc()

    def quota_warned(self, team: str, quota: str, level: str) -> None:
        """Count a level of a quota that was reached: `50%`, `spent`."""
        self._warned.labels(team, quota, level).inc()

    def failover(self, provider: str, kind: str) -> None:
        """Count a failed attempt that another one follows."""
        self._failovers.labels(provider, kind).inc()

    def hedge(self, result: str) -> None:
        """Count a second attempt that raced a first one: it `won`, it `lost`, or both `failed`."""
        self._hedges.labels(result).inc()

    def rescue(self, result: str) -> None:
        """Count a stream that was cut and whose rest was asked for elsewhere: `joined` or `failed`."""
        self._rescues.labels(result).inc()

    def tier_decided(self, model: str, tier: str, *, shadow: bool) -> None:
        """Count a call whose tier was found; with `shadow`, nothing came of it."""
        self._tiers.labels(model, tier, "true" if shadow else "false").inc()

    def config_loaded(self, config_hash: str) -> None:
        """Show which config is in force."""
        self._config_info.clear()
        self._config_info.labels(config_hash).set(1)

    def config_reloaded(self, *, ok: bool) -> None:
        """Count a reload, taken or rejected."""
        self._reloads.labels("ok" if ok else "rejected").inc()

    def lines_dropped(self, count: int) -> None:
        """Count log lines that were given up."""
        self._lines_dropped.inc(count)

    def loop_lagged(self, lag_s: float) -> None:
        """Record one sample of the event loop's lag."""
        self._lag.observe(lag_s)

    def exposition(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _find_series(self, model: str, provider: str, team: str, status: int) -> _Series:
        key = (model, provider, team, status)
        series = self._series.get(key)
        if series is None:
            where = (model, provider)
            series = self._series[key] = _Series(self._duration.at(where), self._ttft.at(where))
        return series


def _filled(family: _Family, samples: Iterable[tuple[tuple[str, ...], float]]) -> _Family:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _family(
    name: str, text: str, labels: tuple[str, ...], histograms: list[tuple[tuple[str, ...], Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in histograms:
        family.add_metric(values, histogram.buckets(), histogram.sum)
    return family
