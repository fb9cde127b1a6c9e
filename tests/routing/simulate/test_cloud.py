from dataclasses import replace
from math import inf

import pytest

from routing.simulate.cloud import Cloud, Fate
from routing.simulate.faults import Fault, FaultKind, standard
from routing.simulate.profiles import hosted, self_hosted
from routing.simulate.trace import Request
from tests.simulations import always, exact

REQUEST = Request(0, 0.0, 1000, 20)


def fates(kind: FaultKind, count: int = 2000, **parameters: float) -> list[Fate]:
    """What many requests meet while the only provider has this fault."""
    fault = Fault(kind, kind, frozenset({"a"}), 0.0, 10.0, **parameters)  # type: ignore[arg-type]
    cloud = Cloud([exact("a")], [fault])
    return [cloud.peek(replace(REQUEST, index=index), "a", 0, 0.0) for index in range(count)]


def test_an_answer_begins_and_ends_as_the_profile_says() -> None:
    fate = Cloud([exact("a", ttft_s=0.5, tokens_per_s=10)]).peek(REQUEST, "a", 0, 0.0)
    assert (fate.kind, fate.first_s, fate.end_s, fate.output_tokens) == ("ok", 0.5, 2.5, 20)


def test_the_same_seed_gives_the_same_luck_whoever_was_asked_before() -> None:
    one, other = Cloud(hosted(), seed=1), Cloud(hosted(), seed=1)
    other.send(replace(REQUEST, index=7), "swift/llama-3.3-70b", 0, 0.0)
    ttft_s = one.peek(REQUEST, "swift/llama-3.3-70b", 0, 0.0).first_s
    assert other.peek(REQUEST, "swift/llama-3.3-70b", 0, 0.0).first_s == ttft_s
    assert Cloud(hosted(), seed=2).peek(REQUEST, "swift/llama-3.3-70b", 0, 0.0).first_s != ttft_s
    assert one.peek(REQUEST, "swift/llama-3.3-70b", 1, 0.0).first_s != ttft_s


def test_in_an_outage_everything_fails_in_30_ms() -> None:
    assert {(fate.kind, fate.end_s, fate.first_s) for fate in fates("error")} == {("failed", 0.03, inf)}


def test_a_gray_failure_strikes_its_share() -> None:
    share = sum(fate.kind == "failed" for fate in fates("error", rate=0.1)) / 2000
    assert share == pytest.approx(0.1, abs=0.02)


def test_errors_take_their_time() -> None:
    ends = [fate.end_s for fate in fates("error", fails_in_s=(0.1, 0.6))]  # type: ignore[arg-type]
    assert 0.1 <= min(ends) < 0.12
    assert 0.58 < max(ends) <= 0.6


def test_a_hang_never_ends() -> None:
    assert {(fate.kind, fate.first_s, fate.end_s) for fate in fates("hang")} == {("timeout", inf, inf)}


def test_a_brown_out_delays_the_first_token_and_nothing_else() -> None:
    (fate,) = fates("slow", count=1, factor=5.0)
    assert (fate.first_s, fate.end_s) == (2.5, 4.5)


def test_a_drift_has_not_begun_to_hurt_at_its_beginning() -> None:
    assert fates("drift", count=1, factor=5.0)[0].first_s == 0.5


def test_a_storm_refuses_its_share_and_its_headers_lie_or_are_missing() -> None:
    fault = Fault("storm", "storm", frozenset({"a"}), 0.0, 2000.0, rate=0.6)
    cloud = Cloud([exact("a", rpm=100, tpm=200_000)], [fault])
    refused = [
        fate
        for index in range(2000)
        if (fate := cloud.peek(replace(REQUEST, index=index), "a", 0, float(index))).kind == "rate_limited"
    ]
    assert len(refused) / 2000 == pytest.approx(0.6, abs=0.03)
    assert all(fate.retry_after_s is None for fate in refused)
    lies = [fate.limits for fate in refused if fate.limits is not None]
    assert len(lies) / len(refused) == pytest.approx(0.5, abs=0.05)
    assert {limits.remaining_requests for limits in lies} == {100}


def test_a_storms_victims_refuse_in_the_same_seconds() -> None:
    fault = Fault("storm", "storm", frozenset({"a", "b"}), 0.0, 1000.0, rate=0.5)
    cloud = Cloud([exact("a"), exact("b")], [fault])
    kinds = [tuple(cloud.peek(REQUEST, name, 0, at + 0.3).kind for name in "ab") for at in range(200)]
    assert set(kinds) == {("ok", "ok"), ("rate_limited", "rate_limited")}
    again = [cloud.peek(replace(REQUEST, index=7), "a", 1, at + 0.9).kind for at in range(200)]
    assert again == [kind for kind, _ in kinds]


def test_cuts_come_after_content_and_before_the_end() -> None:
    cut = [fate for fate in fates("cut", rate=0.15) if fate.kind == "cut"]
    assert len(cut) / 2000 == pytest.approx(0.15, abs=0.02)
    assert {fate.output_tokens for fate in cut} <= set(range(1, 20))
    assert all(0.5 < fate.end_s < 2.5 for fate in cut)


def test_an_answer_of_one_token_cannot_be_cut() -> None:
    cloud = Cloud([exact("a")], [always("cut", "a")])
    assert cloud.peek(replace(REQUEST, output_tokens=1), "a", 0, 0.0).kind == "ok"


def test_a_fault_leaves_others_and_other_times_alone() -> None:
    cloud = Cloud([exact("a"), exact("b")], [Fault("x", "error", frozenset({"a"}), 10.0, 10.0)])
    assert cloud.peek(REQUEST, "a", 0, 15.0).kind == "failed"
    assert cloud.peek(REQUEST, "b", 0, 15.0).kind == "ok"
    assert cloud.peek(REQUEST, "a", 0, 20.0).kind == "ok"


def test_requests_beyond_the_limit_are_refused_and_told_when_to_come_back() -> None:
    cloud = Cloud([exact("a", rpm=2)])
    sent = [cloud.send(replace(REQUEST, index=index), "a", 0, 0.0) for index in range(3)]
    assert [fate.kind for fate in sent] == ["ok", "ok", "rate_limited"]
    assert sent[2].retry_after_s == 30.0
    assert cloud.peek(REQUEST, "a", 0, 29.9).kind == "rate_limited"
    assert cloud.peek(REQUEST, "a", 0, 30.0).kind == "ok"


def test_a_limit_kept_over_less_than_a_minute_lets_no_more_through_at_once() -> None:
    cloud = Cloud([replace(exact("a", rpm=60), burst_s=2.0)])
    kinds = [cloud.send(replace(REQUEST, index=index), "a", 0, 100.0).kind for index in range(3)]
    assert kinds == ["ok", "ok", "rate_limited"]
    assert cloud.peek(REQUEST, "a", 0, 101.0).kind == "ok"
    limits = cloud.peek(REQUEST, "a", 0, 200.0).limits
    assert limits is not None
    assert (limits.limit_requests, limits.remaining_requests, limits.reset_requests_s) == (60, 2, 0.0)


def test_a_refusal_takes_nothing_from_the_allowance() -> None:
    cloud = Cloud([exact("a", rpm=1)])
    for index in range(5):
        cloud.send(replace(REQUEST, index=index), "a", 0, 0.0)
    assert cloud.peek(REQUEST, "a", 0, 60.0).kind == "ok"


def test_headers_tell_the_truth_at_the_time_of_sending() -> None:
    cloud = Cloud([exact("a", rpm=60, tpm=60_000)])
    cloud.send(REQUEST, "a", 0, 0.0)
    limits = cloud.peek(REQUEST, "a", 0, 0.5).limits
    assert limits is not None
    assert (limits.sent_at, limits.limit_requests, limits.limit_tokens) == (0.5, 60, 60_000)
    assert (limits.remaining_requests, limits.remaining_tokens) == (59, 59_480)
    assert limits.reset_requests_s == pytest.approx(0.5)
    assert limits.reset_tokens_s == pytest.approx(0.52)


def test_a_provider_without_limits_says_nothing_of_them() -> None:
    assert Cloud([exact("a")]).peek(REQUEST, "a", 0, 0.0).limits is None


def test_a_prompt_larger_than_the_limit_needs_a_full_bucket() -> None:
    cloud = Cloud([exact("a", tpm=500)])
    assert cloud.send(REQUEST, "a", 0, 0.0).kind == "ok"
    assert cloud.send(REQUEST, "a", 0, 60.0).kind == "rate_limited"
    assert cloud.send(REQUEST, "a", 0, 122.5).kind == "ok"


def test_peeking_changes_nothing() -> None:
    cloud = Cloud([exact("a", rpm=1)])
    assert [cloud.peek(REQUEST, "a", 0, 0.0).kind for _ in range(3)] == ["ok"] * 3
    assert cloud.in_flight("a") == 0


def test_attempts_are_in_flight_until_they_end() -> None:
    cloud = Cloud([exact("a")])
    cloud.send(REQUEST, "a", 0, 0.0)
    cloud.send(REQUEST, "a", 1, 0.0)
    assert cloud.in_flight("a") == 2
    cloud.ended("a")
    assert cloud.in_flight("a") == 1


def test_a_server_of_ones_own_slows_down_beyond_its_knee() -> None:
    profile = replace(self_hosted()[0], ttft_sigma=0.0, speed_sigma=0.0)
    cloud = Cloud([profile])
    for index in range(11):
        cloud.send(replace(REQUEST, index=index), profile.name, 0, 0.0)
    unloaded = cloud.peek(REQUEST, profile.name, 0, 0.0)
    assert unloaded.first_s == pytest.approx(profile.typical_ttft_s(1000))
    for index in range(12):
        cloud.send(replace(REQUEST, index=index), profile.name, 0, 0.0)
    loaded = cloud.peek(REQUEST, profile.name, 0, 0.0)
    assert loaded.first_s == pytest.approx(4 * unloaded.first_s)
    assert loaded.tokens_per_s == pytest.approx(unloaded.tokens_per_s / 2)


def test_a_prompt_seen_before_is_read_from_the_cache_until_it_expires() -> None:
    cloud = Cloud([replace(exact("a"), per_ktok_s=1.0, cache_ttl_s=300.0)])
    request = replace(REQUEST, input_tokens=2000, sticky=5)
    assert cloud.send(request, "a", 0, 0.0).cached_tokens == 0
    warm = cloud.peek(request, "a", 0, 300.0)
    assert warm.cached_tokens == 1920
    assert warm.first_s == pytest.approx(0.58)
    assert cloud.peek(request, "a", 0, 300.1).cached_tokens == 0
    assert cloud.peek(replace(request, sticky=6), "a", 0, 1.0).cached_tokens == 0
    assert cloud.peek(replace(request, input_tokens=1000), "a", 0, 1.0).cached_tokens == 0


def test_every_standard_fault_is_met_by_those_it_strikes() -> None:
    met = set()
    for fault in standard(hosted(), 3502.0):
        cloud, calm = Cloud(hosted(), [fault]), Cloud(hosted())
        for target in fault.targets:
            at = fault.starts_at + fault.duration_s / 2
            for index in range(100):
                request = replace(REQUEST, index=index)
                if cloud.peek(request, target, 0, at) != calm.peek(request, target, 0, at):
                    met.add((fault.name, target))
    assert met == {(fault.name, target) for fault in standard(hosted(), 3502.0) for target in fault.targets}


def test_what_may_be_expected_is_what_happens_luck_aside() -> None:
    for profile in self_hosted():
        cloud = Cloud(self_hosted())
        for _ in range(40):
            cloud.send(REQUEST, profile.name, 0, 0.0)
        firsts = sorted(
            cloud.peek(replace(REQUEST, index=index), profile.name, 0, 60.0).first_s for index in range(999)
        )
        prospect = cloud.prospect(1000, 20, profile.name, 60.0)
        assert prospect is not None
        assert prospect.median_s == pytest.approx(firsts[499], rel=0.05)
        assert (prospect.p_ok, prospect.p_cut) == (1, 0)


def test_faults_are_to_be_expected_and_a_storm_is_luck() -> None:
    for kind, expected in (
        ("error", (0.75, 0, 0.5)),
        ("cut", (1, 0.25, 0.5)),
        ("hang", (0, 0, 0.5)),
        ("slow", (1, 0, 2.0)),
        ("storm", (1, 0, 0.5)),
    ):
        prospect = Cloud([exact("a")], [always(kind, "a", 0.25, 4.0)]).prospect(1000, 20, "a", 1.0)
        assert prospect is not None
        assert (prospect.p_ok, prospect.p_cut, prospect.median_s) == expected


def test_nothing_is_to_be_expected_of_a_target_without_room() -> None:
    cloud = Cloud([exact("a", rpm=2)])
    assert cloud.prospect(1000, 20, "a", 0.0) is not None
    cloud.send(REQUEST, "a", 0, 0.0)
    half = cloud.prospect(1000, 20, "a", 0.0)
    assert half is not None
    assert half.used == 0.5
    cloud.send(REQUEST, "a", 0, 0.0)
    assert cloud.prospect(1000, 20, "a", 0.0) is None
