"""Deltas of tool calls, as upstreams get them wrong."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from proxy.wire.failure import MalformedAnswer
from proxy.wire.toolcalls import ToolCallDeltas

Delta = dict[str, Any]


def normalised(*deltas: Delta) -> list[Delta]:
    """The deltas of one choice, one by one, as they come out."""
    state = ToolCallDeltas()
    out = copy.deepcopy(list(deltas))
    for delta in out:
        before = orjson.dumps(delta)
        assert state.normalise([delta]) == (orjson.dumps(delta) != before)
    return out


def call(
    index: int | None = None, id: str | None = None, name: str | None = None, arguments: str | None = None
) -> Delta:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    members = {"index": index, "id": id, "type": "function" if id is not None else None, "function": function}
    return {key: value for key, value in members.items() if value is not None}


def test_normal_deltas_pass_unchanged() -> None:
    deltas = [
        call(0, "a", "f", ""),
        call(0, arguments="{"),
        call(0, arguments="}"),
        call(1, "b", "f", ""),
        call(1, arguments="{}"),
    ]
    assert normalised(*deltas) == deltas


def test_repeated_identity_is_sent_once_and_arguments_flow() -> None:
    assert normalised(call(0, "a", "f", "{"), call(0, "a", "f", '"x":'), call(0, "a", "f", "1}")) == [
        call(0, "a", "f", "{"),
        call(0, arguments='"x":'),
        call(0, arguments="1}"),
    ]


def test_empty_identity_is_removed() -> None:
    empty: Delta = {"index": 0, "id": "", "type": None, "function": {"name": "", "arguments": "x"}}
    assert normalised(call(0, "a", "f", ""), empty) == [call(0, "a", "f", ""), call(0, arguments="x")]


def test_identity_that_comes_late_is_kept() -> None:
    empty: Delta = {"index": 0, "id": "", "type": "", "function": {"name": None, "arguments": ""}}
    assert normalised(empty, call(0, "a", "f", "{}")) == [call(0, arguments=""), call(0, "a", "f", "{}")]


@pytest.mark.parametrize("index", [None, True, "0", -1, 1.0])
def test_missing_index_is_derived_from_the_id(index: object) -> None:
    def without(delta: Delta) -> Delta:
        return delta | {"index": index}

    assert normalised(
        without(call(None, "a", "f", "1")),
        without(call(None, "b", "g", "2")),
        without(call(None, "a", "f", "3")),
        without(call(None, "b", None, "4")),
        without(call(arguments="5")),
    ) == [
        call(0, "a", "f", "1"),
        call(1, "b", "g", "2"),
        call(0, arguments="3"),
        call(1, arguments="4"),
        call(1, arguments="5"),
    ]


def test_new_id_for_each_delta_of_one_call_is_noise() -> None:
    assert normalised(call(0, "a", "f", ""), call(0, "b", None, "1"), call(0, "c", None, "2")) == [
        call(0, "a", "f", ""),
        call(0, arguments="1"),
        call(0, arguments="2"),
    ]


def test_parallel_calls_under_one_index_are_parted() -> None:
    assert normalised(
        call(0, "a", "f", "{}"), call(0, "b", "g", "{"), call(0, arguments="}"), call(1, "c", "h", "{}")
    ) == [
        call(0, "a", "f", "{}"),
        call(1, "b", "g", "{"),
        call(1, arguments="}"),
        call(2, "c", "h", "{}"),
    ]


def test_call_without_id_gets_one_with_its_name() -> None:
    assert normalised(
        {"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g", "arguments": "{}"}}
    ) == [
        call(0, "call_0", "f", "{}"),
        call(1, "call_1", "g", "{}"),
    ]


def test_arguments_sent_as_an_object_become_a_string() -> None:
    assert normalised(
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    ) == [call(0, "a", "f", '{"x":1}')]


def test_null_and_empty_arrays_are_left_alone() -> None:
    assert not ToolCallDeltas().normalise(None)
    assert not ToolCallDeltas().normalise([])


@pytest.mark.parametrize("calls", [{}, "x", [None], ["x"], [{"index": 0, "function": "x"}]])
def test_garbage_is_malformed(calls: object) -> None:
    with pytest.raises(MalformedAnswer):
        ToolCallDeltas().normalise(calls)
