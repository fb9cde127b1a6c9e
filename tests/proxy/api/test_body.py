from collections.abc import Callable
from typing import Any

import pytest

from proxy.api.body import read_json_body
from proxy.errors import BodyTooLarge, ClientGone, GatewayError, InvalidKey, UnsupportedEncoding


def receiver(*messages: dict[str, Any]) -> Callable[[], Any]:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return receive


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def stranger() -> None:
    raise InvalidKey("nobody")


def friend() -> None:
    return None


async def test_a_body_in_one_piece_is_given_as_it_is() -> None:
    body = b'{"model": "chat"}'
    assert await read_json_body({}, receiver(piece(body)), 100, stranger) is body


async def test_pieces_are_joined() -> None:
    assert (
        await read_json_body({}, receiver(piece(b"ab", True), piece(b"", True), piece(b"cd")), 100, stranger) == b"abcd"
    )


@pytest.mark.parametrize(
    ("headers", "error", "param"),
    [
        ({b"content-encoding": b"gzip"}, UnsupportedEncoding, "content-encoding"),
        ({b"content-type": b"text/plain"}, UnsupportedEncoding, "content-type"),
        ({b"content-type": b"multipart/form-data; boundary=x"}, UnsupportedEncoding, "content-type"),
        ({b"content-length": b"101"}, BodyTooLarge, None),
    ],
)
async def test_a_body_that_cannot_be_good_is_refused_unread(
    headers: dict[bytes, bytes], error: type[GatewayError], param: str | None
) -> None:
    with pytest.raises(error) as caught:
        await read_json_body(headers, receiver(), 100, friend)
    assert caught.value.param == param


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=utf-8", b"application/vnd.x+json"])
async def test_json_by_any_of_its_names_is_read(kind: bytes) -> None:
    assert await read_json_body({b"content-type": kind}, receiver(piece(b"{}")), 100, friend) == b"{}"


@pytest.mark.parametrize("more", [True, False])
async def test_a_body_that_outgrows_the_cap_is_refused_without_its_rest(more: bool) -> None:
    with pytest.raises(BodyTooLarge, match="100 bytes"):
        await read_json_body({}, receiver(piece(b"x" * 60, True), piece(b"x" * 60, more)), 100, friend)


async def test_a_client_that_leaves_while_it_sends_is_gone() -> None:
    with pytest.raises(ClientGone):
        await read_json_body({}, receiver(piece(b"{", True), {"type": "http.disconnect"}), 100, friend)


@pytest.mark.parametrize("headers", [{b"content-length": b"200000"}, {}])
async def test_a_stranger_cannot_make_us_read_much(headers: dict[bytes, bytes]) -> None:
    endless = receiver(*(piece(b"x" * 40_000, True) for _ in range(2)))
    with pytest.raises(InvalidKey):
        await read_json_body(headers, endless, 10**9, stranger)
