import base64
import math
import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.vectors import BadVector, base64_of, floats_of, read_vector

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50)


@given(FLOATS)
def test_float32_comes_back_as_it_was_from_both_forms_and_through_json(values: list[float]) -> None:
    vector = read_vector(values)
    assert vector == struct.pack(f"<{len(values)}f", *values)
    assert list(floats_of(vector)) == values
    assert read_vector(base64_of(vector)) == vector
    assert read_vector(orjson.loads(orjson.dumps(floats_of(vector)))) == vector


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=50))
def test_doubles_are_rounded_to_the_nearest_float32(values: list[float]) -> None:
    for given_, kept in zip(values, floats_of(read_vector(values)), strict=True):
        assert math.isclose(given_, kept, rel_tol=2**-24, abs_tol=2**-149)


def test_base64_is_little_endian() -> None:
    assert base64_of(read_vector([1.0, -2.0])) == base64.b64encode(bytes.fromhex("0000803f000000c0")).decode()


def test_floats_are_written_as_short_as_reads_back_the_same() -> None:
    assert orjson.dumps(floats_of(read_vector([0.5, 0.1]))) == b"[0.5,0.10000000149011612]"


def test_the_largest_numbers_are_numbers() -> None:
    largest = [3.4028234663852886e38, -3.4028234663852886e38, 2.0**127]
    assert list(floats_of(read_vector(base64_of(read_vector(largest))))) == largest


def test_whole_numbers_are_numbers() -> None:
    assert floats_of(read_vector([0, 1, -3])) == (0.0, 1.0, -3.0)


@pytest.mark.parametrize(
    "item",
    [
        None,
        {},
        7,
        [],
        "",
        ["a"],
        [None],
        [[1.0]],
        [1e39],
        [10**400],
        "AAA",  # cut
        "AAAA",  # three bytes
        "!!!!!!!!",
        "é" * 8,
        "AAAA\nAAAA",
        base64.b64encode(struct.pack("<2f", 1.0, math.nan)).decode(),
        base64.b64encode(struct.pack("<f", -math.inf)).decode(),
    ],
)
def test_what_is_no_vector_is_refused(item: object) -> None:
    with pytest.raises(BadVector) as caught:
        read_vector(item)
    assert str(caught.value).startswith("is ")
