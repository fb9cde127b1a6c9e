from typing import Any

import pytest

from proxy.api.guard import REFUSAL, check
from proxy.errors import GatewayError, HeadersTooLarge, InvalidKey, InvalidRequest, UriTooLong

HOST = (b"host", b"localhost")


def scope(*headers: tuple[bytes, bytes], version: str = "1.1", **more: Any) -> dict[str, Any]:
    return {"type": "http", "http_version": version, "headers": list(headers), **more}


def test_headers_are_a_snapshot_that_trailers_do_not_reach() -> None:
    request = scope(HOST, (b"accept", b"*/*"))
    headers = check(request)
    request["headers"].append((b"authorization", b"Bearer smuggled"))
    assert headers == {b"host": b"localhost", b"accept": b"*/*"}


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([], InvalidRequest),
        ([HOST, HOST], InvalidRequest),
        ([HOST, (b"authorization", b"a"), (b"authorization", b"a")], InvalidKey),
        ([HOST, (b"x-api-key", b"a"), (b"x-api-key", b"b")], InvalidKey),
        ([HOST, (b"content-type", b"a"), (b"content-type", b"b")], InvalidRequest),
        ([HOST, (b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c")], InvalidRequest),
        ([HOST, *((b"x-%d" % number, b"") for number in range(100))], HeadersTooLarge),
    ],
)
def test_what_the_parser_lets_through_is_refused(headers: list[tuple[bytes, bytes]], error: type[GatewayError]) -> None:
    with pytest.raises(error):
        check(scope(*headers))


def test_a_repeated_header_that_may_repeat_is_fine() -> None:
    assert check(scope(HOST, (b"accept", b"a"), (b"accept", b"b")))[b"accept"] == b"b"


def test_http_1_0_needs_no_host() -> None:
    assert check(scope(version="1.0")) == {}


def test_the_listeners_own_refusal_comes_first() -> None:
    with pytest.raises(UriTooLong):
        check(scope(extensions={REFUSAL: UriTooLong("too long")}))
