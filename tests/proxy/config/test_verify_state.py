import pytest

from proxy.config.verify_state import check_accounting


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_time_zone_that_exists_is_taken(zone: str) -> None:
    assert list(check_accounting({"accounting": {"timezone": zone}})) == []


def test_a_time_zone_that_does_not_is_a_fault_with_the_nearest() -> None:
    [finding] = check_accounting({"accounting": {"timezone": "Europe/Berln"}})
    assert finding.path == ("accounting", "timezone")
    assert "Europe/Berlin" in finding.hint
    assert not finding.is_warning


@pytest.mark.parametrize("root", [{}, {"accounting": None, "state": 7}, {"state": {"url": "sqlite:///x.db"}}])
def test_nothing_is_said_of_what_is_right_or_of_another_shape(root: dict[str, object]) -> None:
    assert list(check_accounting(root)) == []
