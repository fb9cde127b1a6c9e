import pytest

from routing.simulate.faults import Fault, standard
from routing.simulate.profiles import hosted

HOUR_S = 3502.0


def by_name(span_s: float = HOUR_S) -> dict[str, Fault]:
    return {fault.name: fault for fault in standard(hosted(), span_s)}


def providers(fault: Fault) -> set[str]:
    return {target.split("/")[0] for target in fault.targets}


def test_a_fault_is_on_from_its_beginning_until_before_its_end() -> None:
    fault = Fault("x", "error", frozenset({"a"}), 10.0, 5.0)
    assert [fault.is_on(at) for at in (9.99, 10.0, 14.99, 15.0)] == [False, True, True, False]
    assert fault.ends_at == 15.0


def test_a_brown_out_is_as_slow_from_beginning_to_end_and_a_drift_grows() -> None:
    slow = Fault("x", "slow", frozenset(), 0.0, 10.0, factor=5.0)
    drift = Fault("x", "drift", frozenset(), 0.0, 10.0, factor=5.0)
    assert [slow.slowdown(at) for at in (0, 5, 10)] == [5, 5, 5]
    assert [drift.slowdown(at) for at in (0, 5, 10)] == [1, 3, 5]
    assert Fault("x", "error", frozenset(), 0.0, 10.0, factor=5.0).slowdown(5) == 1


def test_the_eight_faults_have_their_durations() -> None:
    assert {name: fault.duration_s for name, fault in by_name().items()} == {
        "outage": 180,
        "gray": 300,
        "brown-out": 300,
        "hang": 150,
        "storm": 250,
        "drift": 700,
        "fast-fail": 100,
        "cuts": 150,
    }


def test_they_strike_whom_they_should() -> None:
    struck = {name: providers(fault) for name, fault in by_name().items()}
    assert struck["outage"] == {"thrift", "budget"}
    assert struck["hang"] == {"swift"}
    assert struck["storm"] == {"thrift", "budget", "plain", "swift"}
    assert struck["gray"] == {"thrift"}
    assert struck["drift"] == {"plain"}
    assert struck["brown-out"] == {"budget", "plain"}


@pytest.mark.parametrize("span_s", [60.0, HOUR_S, 4 * HOUR_S])
def test_they_come_one_after_the_other_within_the_trace(span_s: float) -> None:
    faults = standard(hosted(), span_s)
    ends = [0.0, *(fault.ends_at for fault in faults)]
    starts = [*(fault.starts_at for fault in faults), span_s]
    assert all(end < start for end, start in zip(ends, starts, strict=True))


def test_in_a_short_trace_all_shrink_alike() -> None:
    short, usual = by_name(350.2), by_name()
    ratios = {name: usual[name].duration_s / short[name].duration_s for name in usual}
    assert min(ratios.values()) == pytest.approx(max(ratios.values()))
    assert ratios["drift"] == pytest.approx(10, rel=0.01)


def test_a_single_provider_or_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="two profiles"):
        standard(hosted()[:1], HOUR_S)
    with pytest.raises(ValueError, match="some length"):
        standard(hosted(), 0.0)


def test_two_providers_are_enough() -> None:
    assert all(1 <= len(fault.targets) <= 2 for fault in standard(hosted()[:2], HOUR_S))
