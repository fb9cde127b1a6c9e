from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.provider_export import Charge, Export
from proxy.accounting.reconcile import Reconciliation, reconcile
from proxy.state import Charged

DAY, NEXT = "2026-11-21", "2026-11-22"
USD = 10**9


def charge(usd: str, key: str = "key_a", day: str = DAY) -> Charge:
    return Charge(key, day, Decimal(usd) * USD)


def ours(
    nusd: int, credential: str = "1a2b", day: str = DAY, low: int | None = None, high: int | None = None
) -> Charged:
    return Charged(credential, day, "reported", 1, nusd, nusd if low is None else low, nusd if high is None else high)


def export(*charges: Charge, days: tuple[str, ...] = (DAY, NEXT)) -> Export:
    return Export(frozenset(days), charges)


def verdicts(found: Reconciliation) -> list[tuple[str, str, str]]:
    return [(match.day, match.credential, match.verdict) for match in found.matches]


def test_days_that_are_charged_as_booked_agree() -> None:
    found = reconcile(export(charge("1.5"), charge("2", day=NEXT)), [ours(1_500_000_001), ours(2 * USD, day=NEXT)], {})
    assert verdicts(found) == [(DAY, "1a2b", "agrees"), (NEXT, "1a2b", "agrees")]
    assert (found.agrees, found.is_by_credential, found.unnamed) == (True, True, ())


def test_only_what_exceeds_one_percent_and_the_range_differs() -> None:
    assert reconcile(export(charge("1.009")), [ours(USD)], {}).agrees
    (match,) = reconcile(export(charge("1.02")), [ours(USD)], {}).matches
    assert (match.verdict, match.matched_nusd) == ("differs", USD)
    assert (match.provider_only_nusd, match.gateway_only_nusd) == (20_000_000, 0)
    assert reconcile(export(charge("1.4")), [ours(USD, low=USD, high=1_500_000_000)], {}).agrees


def test_what_only_one_side_knows_is_told_apart() -> None:
    found = reconcile(
        export(charge("1"), charge("5", "key_b")),
        [ours(USD), ours(3 * USD, "3c4d"), ours(1, "3c4d", NEXT)],
        {"key_a": "1a2b"},
    )
    assert verdicts(found) == [
        (DAY, "1a2b", "agrees"),
        (DAY, "3c4d", "differs"),
        (NEXT, "3c4d", "agrees"),  # a nano-dollar: less than what rounding leaves
    ]
    found = reconcile(
        export(charge("1"), charge("5", "key_b"), charge("1", "key_c")),
        [ours(USD), ours(3 * USD, "3c4d")],
        {"key_a": "1a2b"},
    )
    assert verdicts(found) == [
        (DAY, "1a2b", "agrees"),
        (DAY, "3c4d", "gateway_only"),
        (DAY, "key_b", "provider_only"),
        (DAY, "key_c", "provider_only"),
    ]
    assert found.unnamed == ("key_b", "key_c")
    assert not found.agrees


def test_what_may_be_unbilled_agrees_though_nothing_was_charged() -> None:
    assert reconcile(export(), [ours(50 * 10**7, low=0)], {}).agrees
    assert not reconcile(export(), [ours(50 * 10**7)], {}).agrees


def test_the_only_key_of_each_side_is_taken_for_the_same() -> None:
    assert verdicts(reconcile(export(charge("1")), [ours(USD)], {})) == [(DAY, "1a2b", "agrees")]
    assert reconcile(export(charge("1")), [ours(USD)], {"key_a": "other"}).agrees is False


def test_an_export_without_keys_is_compared_as_a_whole() -> None:
    found = reconcile(export(charge("3", "")), [ours(USD), ours(2 * USD, "3c4d")], {})
    assert verdicts(found) == [(DAY, "", "agrees")]
    assert not found.is_by_credential


def test_days_that_the_export_does_not_cover_are_left_out() -> None:
    assert verdicts(reconcile(export(charge("1"), days=(DAY,)), [ours(USD), ours(USD, day=NEXT)], {})) == [
        (DAY, "1a2b", "agrees")
    ]


@given(st.integers(-(10**6), 10**10), st.integers(-(10**6), 10**10))
def test_the_three_parts_come_to_both_sides(charged: int, booked: int) -> None:
    for match in reconcile(Export(frozenset({DAY}), (Charge("k", DAY, Decimal(charged)),)), [ours(booked)], {}).matches:
        assert match.matched_nusd + match.provider_only_nusd == max(charged, 0)
        assert match.matched_nusd + match.gateway_only_nusd == max(booked, 0)
