from proxy.observe.metrics import Metrics
from proxy.wire.usage import Usage


def finish(metrics: Metrics, **changes: object) -> None:
    values: dict[str, object] = {
        "model": "chat",
        "provider": "openai",
        "team": "search",
        "status": 200,
        "duration_s": 1.5,
        "ttft_s": 0.3,
        "overhead_s": 0.0004,
        "usage": Usage(6, 5, cached_tokens=4),
    }
    metrics.call_finished(**{**values, **changes})  # type: ignore[arg-type]  # the defaults above have the right types


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_finished_call_is_counted_once_with_its_labels() -> None:
    metrics = Metrics()
    metrics.call_started(stream=True)
    assert value(metrics, "llm_active_requests") == 1
    finish(metrics)
    assert value(metrics, "llm_active_requests") == 0
    assert value(metrics, "llm_streaming_requests_total") == 1
    labels = {"model": "chat", "provider": "openai", "team": "search", "status": "200"}
    assert value(metrics, "llm_requests_total", **labels) == 1
    assert value(metrics, "llm_request_duration_seconds_sum", model="chat", provider="openai") == 1.5
    assert value(metrics, "llm_time_to_first_token_seconds_count", model="chat", provider="openai") == 1
    assert value(metrics, "llm_overhead_seconds_count") == 1


def test_cached_tokens_are_counted_apart_and_not_twice() -> None:
    metrics = Metrics()
    finish(metrics)
    who = {"model": "chat", "provider": "openai", "team": "search"}
    assert value(metrics, "llm_tokens_used_total", type="input", **who) == 6
    assert value(metrics, "llm_tokens_used_total", type="cached_input", **who) == 4
    assert value(metrics, "llm_tokens_used_total", type="output", **who) == 5


def test_the_types_of_tokens_add_up_to_all_tokens() -> None:
    metrics = Metrics()
    usage = Usage(1, 2, 4, 8, 16, 32, 64)
    finish(metrics, usage=usage)
    finish(metrics, usage=usage, status=500)
    finish(metrics, usage=None)
    counts = {
        sample.labels["type"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "llm_tokens_used_total"
    }
    assert counts == {
        "input": 2,
        "output": 4,
        "cached_input": 8,
        "cache_write": 16,
        "audio_input": 32,
        "reasoning": 64,
        "audio_output": 128,
    }
    assert sum(counts.values()) == 2 * (usage.input_tokens + usage.output_tokens)


def test_rare_types_of_tokens_are_shown_once_there_are_any() -> None:
    metrics = Metrics()
    finish(metrics, usage=None)
    who = {"model": "chat", "provider": "openai", "team": "search"}
    assert value(metrics, "llm_tokens_used_total", type="output", **who) == 0
    assert value(metrics, "llm_tokens_used_total", type="reasoning", **who) is None
    finish(metrics, usage=Usage(1, 1, reasoning_tokens=3))
    assert value(metrics, "llm_tokens_used_total", type="reasoning", **who) == 3


def test_a_refused_request_has_no_labels_of_the_callers_making() -> None:
    metrics = Metrics()
    metrics.call_refused(status=400, kind="invalid_request")
    labels = {"model": "other", "provider": "other", "team": "other", "status": "400"}
    assert value(metrics, "llm_requests_total", **labels) == 1
    assert value(metrics, "llm_errors_total", kind="invalid_request") == 1


def test_only_the_config_in_force_is_shown() -> None:
    metrics = Metrics()
    metrics.config_loaded("aaa")
    metrics.config_loaded("bbb")
    assert value(metrics, "llm_config_info", config_hash="aaa") is None
    assert value(metrics, "llm_config_info", config_hash="bbb") == 1


def test_reloads_failovers_and_dropped_lines_are_counted() -> None:
    metrics = Metrics()
    metrics.config_reloaded(ok=False)
    metrics.failover("openai", "upstream_error")
    metrics.error("upstream_error")
    metrics.lines_dropped(7)
    assert value(metrics, "llm_config_reloads_total", result="rejected") == 1
    assert value(metrics, "llm_config_reloads_total", result="ok") == 0
    assert value(metrics, "llm_failovers_total", provider="openai", kind="upstream_error") == 1
    assert value(metrics, "llm_log_lines_dropped_total") == 7


def test_tier_decisions_are_counted_apart_in_shadow() -> None:
    metrics = Metrics()
    metrics.tier_decided("chat", "simple", shadow=True)
    metrics.tier_decided("chat", "simple", shadow=False)
    for shadow in ("true", "false"):
        assert value(metrics, "llm_tier_decisions_total", model="chat", tier="simple", shadow=shadow) == 1


def test_the_exposition_holds_every_family() -> None:
    text = Metrics().exposition().decode()
    for name in ("llm_requests", "llm_active_requests", "llm_event_loop_lag_seconds", "llm_config_info"):
        assert f"# HELP {name}" in text


def test_the_queue_and_what_it_refuses_are_shown_from_the_start() -> None:
    metrics = Metrics()
    assert value(metrics, "llm_queued_requests") == 0
    assert value(metrics, "llm_shed_requests_total", reason="queue_full") == 0
    metrics.watch_queue(lambda: 7)
    metrics.shed("deadline")
    assert value(metrics, "llm_queued_requests") == 7
    assert value(metrics, "llm_shed_requests_total", reason="deadline") == 1


def test_what_calls_cost_is_summed_in_dollars() -> None:
    metrics = Metrics()
    for cost_nusd in (1_500_000_000, 250_000_000):
        finish(metrics, cost_nusd=cost_nusd)
    assert value(metrics, "llm_cost_usd_total", model="chat", provider="openai", team="search") == 1.75


def test_a_refusal_by_a_limit_is_counted_by_team_and_limit() -> None:
    metrics = Metrics()
    metrics.limit_refused("search", "team_rpm")
    assert value(metrics, "llm_limit_refusals_total", team="search", limit="team_rpm") == 1


def test_the_cache_is_shown_as_it_is() -> None:
    metrics = Metrics()
    metrics.cache.events["hit"] += 2
    metrics.cache.saved_nusd, metrics.cache.used_bytes = 1_500_000_000, 77
    assert value(metrics, "llm_cache_events_total", tier="exact", result="hit") == 2
    assert value(metrics, "llm_cache_events_total", tier="exact", result="miss") == 0
    assert value(metrics, "llm_cache_saved_usd_total") == 1.5
    assert value(metrics, "llm_cache_used_bytes") == 77
