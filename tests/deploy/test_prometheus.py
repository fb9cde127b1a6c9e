"""deploy/prometheus: the replicas are asked, and the alerts ask for what there is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy import promql, read

CONFIG = read.data("deploy/prometheus/prometheus.yaml")
(GROUP,) = read.data("deploy/prometheus/alerts.yaml")["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]
EACH = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def unknown(expression: str) -> list[str]:
    """What an expression asks for that no gateway shows: a metric, a label, or a value of one."""
    exposed, found = promql.exposed(), []
    for selector in promql.selectors(expression):
        if selector.metric == "up":
            continue
        labels = exposed.get(selector.metric)
        if labels is None:
            found.append(selector.metric)
            continue
        for label, operator, value in selector.matchers:
            if label not in labels.keys() | promql.ADDED:
                found.append(f"{selector.metric}{{{label}}}")
            elif label in ("state", "result", "tier") and operator in ("=", "=~"):
                found += [f"{label}={one}" for one in value.split("|") if one not in labels[label]]
    asked = [exposed[selector.metric] for selector in promql.selectors(expression) if selector.metric in exposed]
    shown = promql.ADDED.union(*asked)
    return found + sorted(promql.grouped_by(expression) - shown)


def test_every_replica_is_scraped_at_its_admin_port() -> None:
    server = read.config(read.COMPOSE_CONFIG).server
    assert server.admin_listen is not None
    (job,) = CONFIG["scrape_configs"]
    targets = [target for one in job["static_configs"] for target in one["targets"]]
    gateways = [name for name in read.data(read.COMPOSE)["services"] if name.startswith("gateway-")]
    assert targets == [f"{name}:{server.admin_listen.port}" for name in gateways]
    assert job["job_name"] == "waystation"
    assert CONFIG["rule_files"] == ["alerts.yaml"]


def test_prometheus_is_started_on_these_files() -> None:
    prometheus = read.data(read.COMPOSE)["services"]["prometheus"]
    assert "../prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    assert "--config.file=/etc/prometheus/prometheus.yaml" in prometheus["command"]


@EACH
def test_alerts_ask_for_what_there_is(rule: dict[str, Any]) -> None:
    assert promql.selectors(rule["expr"])
    assert unknown(rule["expr"]) == []
    assert promql.is_balanced(rule["expr"])


@EACH
def test_alerts_say_what_is_the_matter_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "action"}
    assert all(selector.matchers == (("job", "=", "waystation"),) for selector in _ups(rule))


def _ups(rule: dict[str, Any]) -> list[promql.Selector]:
    return [selector for selector in promql.selectors(rule["expr"]) if selector.metric == "up"]


def test_what_may_go_wrong_is_looked_for() -> None:
    asked = {selector.metric for rule in RULES for selector in promql.selectors(rule["expr"])}
    assert asked >= {
        *("up", "llm_requests_total", "llm_breaker_state", "llm_quota_used_ratio", "llm_books_entries"),
        *("llm_config_info", "llm_event_loop_lag_seconds_bucket", "llm_shed_requests_total"),
    }


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_what_nobody_shows_is_noticed() -> None:
    assert unknown('sum by (team) (rate(llm_requests_total{status="200"}[5m]))') == []
    assert unknown("llm_made_up > 1") == ["llm_made_up"]
    assert unknown('llm_requests_total{teem="x"}') == ["llm_requests_total{teem}"]
    assert unknown('llm_books_entries{state=~"lost|stolen"}') == ["state=stolen"]
    assert unknown("sum by (teem) (llm_requests_total)") == ["teem"]


def test_brackets_are_counted() -> None:
    assert promql.is_balanced('a{b="("}[5m] + (c)')
    assert not promql.is_balanced("sum(a[5m)]")
    assert not promql.is_balanced("sum(a")
