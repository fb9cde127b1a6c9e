"""deploy/grafana: a dashboard of what there is, and where Grafana finds it."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.deploy import promql, read
from tests.deploy.test_prometheus import unknown
from tests.house import tree

DASHBOARD = json.loads(tree.text("deploy/grafana/waystation.json"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EACH = pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
WIDTH = 24


@EACH
def test_panels_ask_for_what_there_is(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert promql.selectors(target["expr"])
        assert unknown(target["expr"]) == []
        assert promql.is_balanced(target["expr"])


@EACH
def test_legends_name_labels_that_are_left(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        named = {part.split("}}")[0] for part in target.get("legendFormat", "").split("{{")[1:]}
        assert named <= promql.grouped_by(target["expr"])


@EACH
def test_panels_use_the_datasource_that_is_chosen(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_everything_that_matters_is_shown() -> None:
    asked = {s.metric for panel in PANELS for target in panel["targets"] for s in promql.selectors(target["expr"])}
    assert asked >= {
        *("llm_requests_total", "llm_errors_total", "llm_request_duration_seconds_bucket", "llm_tokens_used_total"),
        *("llm_time_to_first_token_seconds_bucket", "llm_cost_usd_total", "llm_cache_events_total"),
        *("llm_cache_saved_usd_total", "llm_breaker_state", "llm_quota_used_ratio", "llm_queued_requests"),
        *("llm_event_loop_lag_seconds_bucket", "llm_books_entries", "llm_config_info", "llm_overhead_seconds_bucket"),
    }


def test_grafana_finds_its_files() -> None:
    grafana = read.data(read.COMPOSE)["services"]["grafana"]
    places = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    (source,) = read.data("deploy/grafana/datasource.yaml")["datasources"]
    (provider,) = read.data("deploy/grafana/dashboards.yaml")["providers"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    assert PurePosixPath(places["../grafana/waystation.json"]).parent == PurePosixPath(provider["options"]["path"])
    assert places["../grafana/datasource.yaml"].startswith("/etc/grafana/provisioning/datasources/")
    assert places["../grafana/dashboards.yaml"].startswith("/etc/grafana/provisioning/dashboards/")
