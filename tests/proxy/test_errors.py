import inspect

import pytest

from proxy import errors
from proxy.errors import GatewayError, InvalidRequest, UpstreamFailure

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, GatewayError)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: str(error.__name__))
def test_the_tree_in_the_docstring_names_every_class_with_its_status(error: type[GatewayError]) -> None:
    line = next(
        (
            line
            for line in (errors.__doc__ or "").splitlines()
            if line.split()[-1:] and f" {error.__name__} " in f"{line} "
        ),
        "",
    )
    assert line, f"{error.__name__} is missing from the tree"
    if error not in (GatewayError, UpstreamFailure, errors.UpstreamRejected):
        assert str(error.status) in line


def test_a_fault_of_the_callers_forbids_a_retry_and_names_the_parameter() -> None:
    error = InvalidRequest("no", param="messages")
    assert (error.status, error.type, error.param, error.should_retry) == (
        400,
        "invalid_request_error",
        "messages",
        False,
    )


def test_an_upstream_failure_forbids_the_sdks_own_retries_because_ours_are_spent() -> None:
    assert UpstreamFailure("no").should_retry is False


def test_an_upstreams_own_word_keeps_its_status_code_and_param() -> None:
    error = errors.UpstreamRejected(422, "bad", type="t", code="c", param="p", cause="context_length")
    assert (error.status, error.type, error.code, error.param, error.cause) == (422, "t", "c", "p", "context_length")


@pytest.mark.parametrize(
    ("waits_s", "least_wait_s", "retry_after_s"),
    [
        ({"a": 20.0, "b": 7.0}, 7.0, 7.0),
        ({"a": 20.0, "b": None}, 0.0, 20.0),
        ({"a": None}, 0.0, 1.0),
        ({"a": 0.2}, 0.2, 1.0),
    ],
)
def test_a_full_fleet_says_how_long_to_wait_as_far_as_it_is_known(
    waits_s: dict[str, float | None], least_wait_s: float, retry_after_s: float
) -> None:
    error = errors.AtCapacity("full", waits_s)
    assert (error.least_wait_s, error.retry_after_s) == (least_wait_s, retry_after_s)
    assert (error.status, error.code, error.kind) == (503, "overloaded", "overloaded")
