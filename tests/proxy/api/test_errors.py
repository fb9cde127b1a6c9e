import json

import pytest

from proxy.api.errors import envelope, raw_response, retry_headers
from proxy.errors import GatewayError, InvalidRequest, Overloaded, RequestTimeout


def test_the_envelope_always_has_all_four_keys() -> None:
    assert json.loads(envelope(GatewayError("broken"))) == {
        "error": {"message": "broken", "type": "server_error", "param": None, "code": None}
    }


def test_a_retry_that_cannot_help_is_forbidden() -> None:
    assert retry_headers(InvalidRequest("no")) == [(b"x-should-retry", b"false")]


@pytest.mark.parametrize(
    ("wait_s", "seconds", "milliseconds"), [(0.25, b"1", b"250"), (2.0, b"2", b"2000"), (2.0001, b"3", b"2001")]
)
def test_waits_are_rounded_up_so_that_no_client_comes_too_early(
    wait_s: float, seconds: bytes, milliseconds: bytes
) -> None:
    error = Overloaded("full")
    error.retry_after_s = wait_s
    assert retry_headers(error) == [(b"retry-after", seconds), (b"retry-after-ms", milliseconds)]


def test_a_raw_response_is_whole_and_closes_the_connection() -> None:
    head, _, body = raw_response(RequestTimeout("too slow"), "req_1").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 408 Request Timeout"
    assert b"content-length: %d" % len(body) in lines
    assert b"x-request-id: req_1" in lines
    assert b"connection: close" in lines
    assert json.loads(body)["error"]["code"] == "request_timeout"
