"""Keys that occur twice."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.duplicates import MAX_DEPTH, TooDeep, has_duplicate_keys, locate_duplicate

#: Long enough to leave the way of small bodies.
PADDING = 40_000

keys = st.sampled_from(["a", "b", ":", "\\", '"', "ü", "a:b", "\\u003a"])
leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([":", "\\", '\\"', "x:y:z", "\\\\u003a", ""])


class Pairs(list[tuple[str, object]]):
    """An object as written, repetitions included."""


documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=3).map(Pairs),
    max_leaves=12,
)


def write(value: object, escape: str, space: str) -> str:
    if isinstance(value, Pairs):
        members = (f"{write(key, escape, space)}:{space}{write(item, escape, space)}" for key, item in value)
        return "{" + f",{space}".join(members) + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(write(item, escape, space) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace(":", escape)
    return json.dumps(value)


def repeats(value: object) -> bool:
    if isinstance(value, Pairs):
        return len({key for key, _ in value}) < len(value) or any(repeats(item) for _, item in value)
    return isinstance(value, list) and any(repeats(item) for item in value)


@settings(max_examples=400)
@given(
    documents,
    st.sampled_from([":", "\\u003a", "\\u003A"]),
    st.sampled_from(["", " ", "\n  "]),
    st.sampled_from(["", "x" * PADDING, ":" * PADDING, "\\" * PADDING]),
)
def test_duplicates_are_found_exactly_whatever_the_spelling(
    value: object, escape: str, space: str, padding: str
) -> None:
    raw = write([value, padding], escape, space).encode()
    assert has_duplicate_keys(raw, orjson.loads(raw)) == repeats(value)


@pytest.mark.parametrize("values", [10, 50_000])
def test_many_small_values_and_few_large_ones_are_judged_alike(values: int) -> None:
    body = {"items": [{"k": index} for index in range(values)], "text": "x" * PADDING}
    raw = json.dumps(body).encode()
    assert not has_duplicate_keys(raw, orjson.loads(raw))
    doubled = raw.replace(b'{"k": 7}', b'{"k": 7, "k": 7}', 1)
    assert has_duplicate_keys(doubled, orjson.loads(doubled))


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_limit_is_the_same_for_small_and_large_bodies(opening: str, closing: str, padding: int) -> None:
    def document(depth: int) -> bytes:
        return f'{opening * depth}"{"x" * padding}"{closing * depth}'.encode()

    deepest = document(MAX_DEPTH)
    assert not has_duplicate_keys(deepest, orjson.loads(deepest))
    orjson.dumps(orjson.loads(deepest))
    too_deep = document(MAX_DEPTH + 1)
    with pytest.raises(TooDeep):
        has_duplicate_keys(too_deep, orjson.loads(too_deep))
    with pytest.raises(orjson.JSONEncodeError):
        orjson.dumps(orjson.loads(too_deep))


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"model":1,"model":2}', "model"),
        (b'{"messages":[{},{"role":"a","role":"b"}]}', "messages[1].role"),
        (b'{"a":{"b":[[{"c":1,"c":2}]]}}', "a.b[0][0].c"),
        (b'{"a":{"x":1,"x":2},"a":1}', "a"),
        (b'{"my secret text":1,"my secret text":2}', None),
        (b'{"my secret text":{"a":1,"a":2}}', None),
        (b'{"' + b"k" * 65 + b'":1,"' + b"k" * 65 + b'":2}', None),
        (b'{"model":1,"model":"' + b"x" * 300_000 + b'"}', None),
        (b'{"model":1}', None),
    ],
)
def test_path_of_a_duplicate_is_named_only_if_safe_and_cheap(raw: bytes, path: str | None) -> None:
    assert locate_duplicate(raw) == path


def test_depth_of_what_a_duplicate_hides_is_no_danger() -> None:
    # How deep the standard decoder goes differs between versions of Python; none of them may raise.
    assert locate_duplicate(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}') in (None, "a")
