from __future__ import annotations

import pytest

from proxy.providers.credentials import Credential, Credentials

MINUTE = 60.0
HOUR = 3600.0


def picked(credentials: Credentials, now: float) -> Credential:
    credential = credentials.pick(now)
    assert credential is not None
    return credential


def test_keys_take_turns() -> None:
    credentials = Credentials(["a", "b", "c"])
    assert [picked(credentials, 0.0).secret for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_a_key_that_comes_back_is_the_least_recently_picked() -> None:
    credentials = Credentials(["a", "b", "c"])
    credentials.cool(picked(credentials, 0.0), 10.0, 0.0)
    assert [picked(credentials, 1.0).secret for _ in range(4)] == ["b", "c", "b", "c"]
    assert picked(credentials, 10.0).secret == "a"


def test_ids_go_by_place_and_secrets_are_not_shown() -> None:
    credentials = Credentials(["sk-first", "sk-second"])
    first, second = picked(credentials, 0.0), picked(credentials, 0.0)
    assert (first.id, second.id) == ("k1", "k2")
    assert "sk-" not in repr(first)
    assert not any("sk-" in str(row) for row in credentials.states(0.0))


def test_a_provider_without_a_key_has_one_empty_credential() -> None:
    assert picked(Credentials([""]), 0.0).secret == ""


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        Credentials([])


def test_without_a_usable_key_none_is_picked() -> None:
    credentials = Credentials(["a", "b"])
    credentials.cool(picked(credentials, 0.0), 5.0, 0.0)
    credentials.park(picked(credentials, 0.0), 0.0)
    assert credentials.pick(4.9) is None
    assert credentials.usable_in_s(1.0) == 4.0
    assert picked(credentials, 5.0).secret == "a"
    assert credentials.usable_in_s(5.0) == 0.0


def test_cooling_extends_and_never_shortens() -> None:
    credentials = Credentials(["a"])
    key = picked(credentials, 0.0)
    credentials.cool(key, 30.0, 0.0)
    credentials.cool(key, 5.0, 1.0)
    assert credentials.usable_in_s(1.0) == 29.0
    credentials.cool(key, 60.0, 1.0)
    assert credentials.usable_in_s(1.0) == 60.0


def test_each_refusal_after_a_return_doubles_the_parking_up_to_six_hours() -> None:
    credentials, now, waits = Credentials(["a"]), 0.0, []
    for _ in range(12):
        credentials.park(picked(credentials, now), now)
        waits.append(credentials.usable_in_s(now))
        now += waits[-1]
    minutes = [wait / MINUTE for wait in waits]
    assert minutes == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]


def test_refusals_while_parked_change_nothing() -> None:
    credentials = Credentials(["a"])
    key = picked(credentials, 0.0)
    for now in (0.0, 0.1, 29.0):
        credentials.park(key, now)
    assert credentials.usable_in_s(0.0) == 30.0
    credentials.park(key, 30.0)
    assert credentials.usable_in_s(30.0) == MINUTE


def test_a_success_makes_the_next_parking_short_again() -> None:
    credentials = Credentials(["a"])
    key = picked(credentials, 0.0)
    credentials.park(key, 0.0)
    credentials.park(key, 30.0)
    credentials.worked(key)
    assert credentials.usable_in_s(30.0) == MINUTE, "a late success of an older call frees nobody"
    credentials.park(key, 2 * HOUR)
    assert credentials.usable_in_s(2 * HOUR) == 30.0


def test_states_name_each_key_with_the_seconds_left() -> None:
    credentials = Credentials(["a", "b", "c", "d"])
    first, second, third = (picked(credentials, 0.0) for _ in range(3))
    credentials.cool(first, 30.0, 0.0)
    credentials.park(second, 0.0)
    credentials.park(third, 0.0)
    credentials.cool(third, HOUR, 0.0)
    expected = [("k1", "cooling", 20.0), ("k2", "parked", 20.0), ("k3", "parked", 3590.0), ("k4", "usable", 0.0)]
    assert credentials.states(10.0) == expected
    assert credentials.states(700.0)[2] == ("k3", "cooling", 2900.0)


def test_a_credential_of_an_older_config_is_passed_over() -> None:
    credentials = Credentials(["new"])
    old = Credential("k1", "old")
    credentials.cool(old, 60.0, 0.0)
    credentials.park(old, 0.0)
    credentials.worked(old)
    assert credentials.states(0.0) == [("k1", "usable", 0.0)]
