from dataclasses import replace

import pytest

from routing.simulate.faults import Fault
from routing.simulate.records import CallRecord
from routing.simulate.report import fault_table, percent, summarize, table

GOOD = CallRecord(0, 0.0, "ok", 0.5, 1.0, 0.01, 1000, 0, 1, 0, 0, "a")
LATE = replace(GOOD, ttft_s=2.5)
FAILED = replace(GOOD, ending="failed", ttft_s=None, cost_usd=0.0, billed_tokens=0, attempts=3, rate_limited=2)
CUT = replace(GOOD, ending="cut", wasted_tokens=1000)
FAULT = Fault("outage", "error", frozenset({"a"}), 60.0, 60.0)


def test_shares_are_of_all_calls_and_a_late_answer_is_a_success() -> None:
    summary = summarize("x", [GOOD, LATE, FAILED, CUT])
    assert (summary.calls, summary.success_pct, summary.objective_pct) == (4, 50.0, 25.0)
    assert summary.waste_pct == pytest.approx(100 / 3)
    assert summary.cost_usd == pytest.approx(0.03)
    assert (summary.rate_limited, summary.attempts, summary.hedges) == (2, 6, 0)


def test_the_objective_is_met_exactly_at_it() -> None:
    assert summarize("x", [replace(GOOD, ttft_s=2.0)]).objective_pct == 100
    assert summarize("x", [LATE], objective_s=2.5).objective_pct == 100


def test_failures_count_as_the_clients_whole_patience() -> None:
    summary = summarize("x", [GOOD] * 94 + [LATE] * 4 + [FAILED, CUT])
    assert (summary.ttft_p50_s, summary.ttft_p95_s, summary.ttft_p99_s) == (0.5, 2.5, 30.0)
    assert summarize("x", [FAILED], patience_s=7.0).ttft_p50_s == 7.0


def test_the_worst_minute_has_at_least_twenty_calls() -> None:
    good, bad = [GOOD] * 20, [replace(GOOD, at=61.0)] * 15 + [replace(FAILED, at=61.0)] * 5
    few = [replace(FAILED, at=121.0)] * 19
    summary = summarize("x", good + bad + few)
    assert (summary.worst_success_pct, summary.worst_objective_pct) == (75.0, 75.0)


def test_a_short_run_is_its_own_worst_minute() -> None:
    assert summarize("x", [GOOD, FAILED]).worst_success_pct == 50.0


def test_phases_hold_the_calls_that_began_in_them() -> None:
    records = [GOOD, replace(FAILED, at=60.0), replace(LATE, at=119.0), replace(GOOD, at=120.0)]
    (phase,) = summarize("x", records, [FAULT]).phases
    assert (phase.name, phase.calls, phase.success_pct, phase.objective_pct) == ("outage", 2, 50.0, 0.0)
    assert phase.cost_usd == pytest.approx(0.01)


def test_a_phase_without_calls_has_no_shares() -> None:
    summary = summarize("x", [GOOD], [FAULT])
    assert summary.phases[0].success_pct is None
    assert "–" in fault_table([summary])


def test_a_run_without_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="without calls"):
        summarize("x", [])


def test_the_table_has_a_row_for_each_run_and_compares_with_the_oracle() -> None:
    cheap, dear = summarize("cheap", [GOOD]), summarize("dear", [replace(GOOD, cost_usd=0.025)])
    lines = table([cheap, dear], oracle=cheap).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells[:6] == ["dear", "100", "100.0", "0.50 / 0.50 / 0.50", "0.03", "2.50"]
    assert "–" in table([cheap])


def test_what_is_not_quite_all_is_not_shown_as_100() -> None:
    summary = summarize("x", [GOOD] * 99_999 + [FAILED])
    assert "99.99" in table([summary])
    assert "| 100 " not in table([summary]).splitlines()[2][:30]


def test_the_table_of_faults_has_a_column_for_each() -> None:
    summary = summarize("x", [GOOD, replace(FAILED, at=60.0), replace(GOOD, at=61.0)], [FAULT])
    head, _, row = fault_table([summary]).splitlines()
    assert "outage" in head
    assert "50.0 / 50.0" in row


def test_without_faults_there_is_no_table_of_them() -> None:
    assert fault_table([summarize("x", [GOOD])]) == "no faults"
    assert fault_table([]) == "no faults"


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (100.0, 2, "100.00"),
        (99.996, 2, "99.99"),
        (99.96, 1, "99.9"),
        (99.7, 0, "99"),
        (99.44, 1, "99.4"),
        (0.0, 0, "0"),
    ],
)
def test_a_share_is_rounded_but_never_up_to_all(value: float, decimals: int, shown: str) -> None:
    assert percent(value, decimals) == shown
