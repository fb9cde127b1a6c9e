import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.merging import HIGHEST, Merged, buried, read, row_of, write
from proxy.observe.metrics import Metrics
from proxy.observe.replicas import ReplicaGauge
from proxy.wire.usage import Usage


def worked(calls: int, *, breaker: str = "closed", config_hash: str = "aaa", duration_s: float = 0.2) -> Metrics:
    """The metrics of a process that has served so many calls, and has one in flight."""
    metrics = Metrics()
    metrics.config_loaded(config_hash)
    metrics.watch_breakers(lambda: [("openai/gpt", breaker)])
    metrics.watch_accounts(lambda: {"search": calls / 10}, lambda: {"unwritten": 1})
    metrics.call_started(stream=True)
    for _ in range(calls):
        metrics.call_started(stream=False)
        metrics.call_finished(
            model="chat",
            provider="openai",
            team="search",
            status=200,
            duration_s=duration_s,
            ttft_s=None,
            overhead_s=0.0004,
            usage=Usage(6, 5),
            cost_nusd=1_000_000_000,
        )
        metrics.error("timeout")
    return metrics


def sheet_of(metrics: Metrics) -> bytes:
    return write(row_of(family) for family in metrics.registry.collect())


def merged(*alive: Metrics, kept: bytes = b"") -> Merged:
    whole = Merged()
    for metrics in alive:
        whole.add(read(sheet_of(metrics)))
    whole.add(read(kept), is_alive=False)
    return whole


def value(whole: Merged, name: str, **labels: str) -> float | None:
    samples = [sample for family in whole.collect() for sample in family.samples]
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return found[0] if found else None


def test_one_process_looks_as_it_does_alone() -> None:
    metrics = worked(3)
    assert merged(metrics).exposition() == metrics.exposition()


def test_two_have_the_families_of_one() -> None:
    lines = merged(worked(3), worked(4)).exposition().decode().splitlines()
    alone = worked(1).exposition().decode().splitlines()
    assert [line for line in lines if line[0] == "#"] == [line for line in alone if line[0] == "#"]


def test_counters_add_up() -> None:
    whole = merged(worked(3), worked(4))
    labels = {"model": "chat", "provider": "openai", "team": "search"}
    assert value(whole, "llm_requests_total", status="200", **labels) == 7
    assert value(whole, "llm_tokens_used_total", type="input", **labels) == 42
    assert value(whole, "llm_cost_usd_total", **labels) == 7
    assert value(whole, "llm_errors_total", kind="timeout") == 7


def test_histograms_add_up_and_stay_cumulative() -> None:
    whole = merged(worked(3, duration_s=0.2), worked(4, duration_s=30))
    labels = {"model": "chat", "provider": "openai"}
    assert value(whole, "llm_request_duration_seconds_count", **labels) == 7
    assert value(whole, "llm_request_duration_seconds_sum", **labels) == pytest.approx(120.6)
    [family] = [family for family in whole.collect() if family.name == "llm_request_duration_seconds"]
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    counts = [sample.value for sample in sorted(buckets, key=lambda sample: float(sample.labels["le"]))]
    assert counts == sorted(counts)
    assert counts[-1] == 7
    assert value(whole, "llm_request_duration_seconds_bucket", le="0.25", **labels) == 3


def test_what_was_created_was_so_when_the_first_of_them_was() -> None:
    whole = Merged()
    for stamp in (1.8e9, 1.7e9, 1.9e9):
        whole.add([("llm_calls", "counter", "Calls.", [("llm_calls_created", {}, stamp)])])
    [(_, _, _, samples)] = whole.rows()
    assert samples == [("llm_calls_created", {}, 1.7e9)]


def test_gauges_are_sums_but_for_views_of_the_same_thing() -> None:
    whole = merged(worked(3, breaker="open"), worked(4), worked(5, config_hash="bbb"))
    assert value(whole, "llm_active_requests") == 3
    assert value(whole, "llm_books_entries", state="unwritten") == 3
    assert value(whole, "llm_breaker_state", target="openai/gpt") == 2
    assert value(whole, "llm_quota_used_ratio", team="search") == 0.5
    assert value(whole, "llm_config_info", config_hash="aaa") == 2
    assert value(whole, "llm_config_info", config_hash="bbb") == 1


def test_what_shows_the_highest_is_a_gauge_that_exists() -> None:
    registry = Metrics().registry
    registry.register(ReplicaGauge(tuple))
    gauges = {family.name for family in registry.collect() if family.type == "gauge"}
    assert gauges >= HIGHEST


def test_the_dead_have_counted_and_hold_nothing() -> None:
    kept = buried(buried(b"", sheet_of(worked(3))), sheet_of(worked(4, config_hash="bbb")))
    whole = merged(worked(1), kept=kept)
    labels = {"model": "chat", "provider": "openai", "team": "search"}
    assert value(whole, "llm_requests_total", status="200", **labels) == 8
    assert value(whole, "llm_request_duration_seconds_count", model="chat", provider="openai") == 8
    assert value(whole, "llm_active_requests") == 1
    assert value(whole, "llm_config_info", config_hash="bbb") is None


def test_nothing_and_a_torn_sheet_are_no_rows() -> None:
    assert read(b"") == []
    assert read(b'[["llm_req') == []


@given(st.lists(st.integers(min_value=0, max_value=5), min_size=1, max_size=5))
def test_whatever_is_merged_can_be_scraped_and_adds_up(calls: list[int]) -> None:
    alive, dead = calls[: len(calls) // 2], calls[len(calls) // 2 :]
    kept = b""
    for count in dead:
        kept = buried(kept, sheet_of(worked(count)))
    text = merged(*map(worked, alive), kept=kept).exposition().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert sum(sample.value for sample in samples if sample.name == "llm_requests_total") == sum(calls)
    assert sum(sample.value for sample in samples if sample.name == "llm_active_requests") == len(alive)
