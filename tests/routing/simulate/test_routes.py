import pytest

from routing.simulate.routes import CallPolicy


@pytest.mark.parametrize(
    "bad",
    [
        {"first_token_timeout_s": 0.0},
        {"patience_s": -1.0},
        {"objective_s": 0.0},
        {"deadline_s": 0.0},
        {"backoff_s": -0.1},
        {"max_backoff_s": -0.1},
    ],
)
def test_a_time_that_is_no_time_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        CallPolicy(**bad)  # type: ignore[arg-type]


def test_a_call_without_attempts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        CallPolicy(max_attempts=0)


def test_there_may_be_no_back_off() -> None:
    assert CallPolicy(backoff_s=0.0).backoff_s == 0
