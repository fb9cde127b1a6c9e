from dataclasses import replace
from typing import cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.codec import decode, encode
from proxy.cache.store import Stored
from tests.fakes import completion

KEY = bytes(range(32))
STORED = Stored(
    orjson.dumps(completion("Hello!")), "search", "chat", b"s" * 32, "req_1", "mine", "chatcmpl-1", 1.79e9, 700, 1.5
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXT, TEXT, st.binary(max_size=64), st.integers(0, 2**53), st.floats(0, 1e6))
def test_an_answer_comes_back_as_it_was(team: str, id: str, scope: bytes, nusd: int, streamed_s: float) -> None:
    stored = replace(STORED, team=team, request_id=id, scope=scope, cost_nusd=nusd, streamed_s=streamed_s)
    assert decode(KEY, encode(KEY, stored)) == stored


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_value_with_any_byte_changed_is_no_answer(at: int, by: int) -> None:
    data = bytearray(encode(KEY, STORED))
    data[at % len(data)] ^= by
    assert decode(KEY, bytes(data)) is None


@given(st.integers(0, 10**6))
def test_a_value_that_is_cut_is_no_answer(length: int) -> None:
    data = encode(KEY, STORED)
    assert decode(KEY, data[: length % len(data)]) is None


def test_a_value_of_another_key_is_no_answer() -> None:
    assert decode(bytes(32), encode(KEY, STORED)) is None


@pytest.mark.parametrize(
    "spoilt",
    [
        replace(STORED, body=b'{"choices": []}'),
        replace(STORED, body=b"[]"),
        replace(STORED, body=b"{"),
        replace(STORED, cost_nusd=-1),
        replace(STORED, cost_nusd=True),
        replace(STORED, cost_nusd=2**60),
        replace(STORED, stored_at=cast(float, "now")),
        replace(STORED, team=cast(str, None)),
    ],
)
def test_what_this_version_would_not_store_is_no_answer_whoever_signed_it(spoilt: Stored) -> None:
    assert decode(KEY, encode(KEY, spoilt)) is None
