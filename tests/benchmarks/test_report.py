"""Medians, ratios, tables."""

from __future__ import annotations

import pytest

from benchmarks.chat import Kind
from benchmarks.footprint import Footprint
from benchmarks.measure import Cost, Figures, quantile
from benchmarks.report import Setting, lone_ratio, ratio, report, table
from benchmarks.session import Results

_SETTING = Setting("2026-01-02", "a machine", "uvicorn 1", "scripts/bench", "5 runs")


def _figures(*cpu_us: float, whole_s: float = 0.001) -> Figures:
    costs = [Cost(us, 1000.0, 0.99) for us in cpu_us]
    return Figures(costs, [2 * us for us in cpu_us], [whole_s / 2] * 10, [whole_s] * 10)


def _results(**floor_and_own: tuple[float, float]) -> Results:
    results = Results()
    for kind, (floor, own) in floor_and_own.items():
        assert kind in ("json", "stream")
        results.figures["direct", kind] = _figures(0.0, whole_s=0.0001)  # type: ignore[index] # checked above
        results.figures["floor", kind] = _figures(floor)  # type: ignore[index]
        results.figures["waystation", kind] = _figures(own, whole_s=0.0015)  # type: ignore[index]
    return results


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start}"))


def test_figures_are_medians() -> None:
    figures = _figures(90.0, 100.0, 1000.0)
    assert figures.cpu_us() == 100.0
    assert figures.lone_us() == 200.0
    assert figures.cpu_us_range() == (90.0, 1000.0)


def test_ratios_are_of_the_same_run() -> None:
    results = Results()
    results.figures["floor", "json"] = _figures(100.0, 200.0, 400.0)
    results.figures["waystation", "json"] = _figures(120.0, 260.0, 560.0)
    assert ratio(results, "waystation", "json") == pytest.approx(1.3)
    assert lone_ratio(results, "waystation", "json") == pytest.approx(1.3)


@pytest.mark.parametrize("kind", ["json", "stream"])
def test_there_is_no_ratio_without_both(kind: Kind) -> None:
    results = Results({("waystation", kind): _figures(1.0)})
    assert ratio(results, "waystation", kind) is None
    assert lone_ratio(results, "waystation", kind) is None


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_quantiles_are_samples(share: float, expected: int) -> None:
    assert quantile([*range(100, 0, -1)], share) == expected


def test_no_samples_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)


def test_targets_say_whether_they_are_met() -> None:
    results = _results(json=(100.0, 135.0), stream=(100.0, 136.0))
    results.footprint = Footprint(import_s=0.5, start_s=1.6, idle_rss_bytes=80_000_000)
    text = report(results, _SETTING)
    assert _line(text, "CPU of a json").split("|")[2:5] == [" " * 5 + "1.35 ", " ≤ 1.35 ", " yes "]
    assert _line(text, "CPU of a stream").endswith("|  no |")
    assert _line(text, "start to first").endswith("|  no |")
    assert _line(text, "resident when idle").endswith("| yes |")


def test_latency_is_what_is_added_to_direct() -> None:
    text = report(_results(json=(100.0, 135.0), stream=(100.0, 136.0)), _SETTING).partition("## Latency")[2]
    assert _line(text, "direct").split()[3] == "0.10"
    assert _line(text, "waystation").split()[3] == "+1.40"


def test_what_is_missing_is_named() -> None:
    results = _results(json=(100.0, 135.0))
    results.notes["litellm"] = "not installed"
    text = report(results, _SETTING)
    assert "- litellm: not installed" in text
    assert _line(text, "floor").rstrip("| ").endswith("–")


def test_a_table_is_aligned() -> None:
    assert table(("", "µs"), [("a", "1"), ("bcde", "100")]) == (
        "|      |  µs |\n| ---- | --: |\n| a    |   1 |\n| bcde | 100 |"
    )
