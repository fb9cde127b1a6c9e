from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.needs import DROPPABLE, NEEDS, describe, needs, parameter_of

PLAIN: Mapping[str, object] = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "temperature": 0.5,
    "max_tokens": 100,
    "stream": True,
}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "text", "image_url", "audio", "json_object"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "content", "x"]), inner),
    max_leaves=12,
)


def parts(*kinds: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": kind} for kind in kinds]}]}


def test_a_plain_request_needs_nothing() -> None:
    assert needs(PLAIN) == frozenset()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": [{"type": "web_search_preview"}]}, {"tools", "web_search"}),
        ({"web_search_options": {}}, {"web_search"}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls"}),
        ({"response_format": {"type": "json_object"}}, {"json_object"}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"json_schema"}),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"logprobs": True}, {"logprobs"}),
        ({"top_logprobs": 2}, {"logprobs"}),
        ({"n": 2}, {"n"}),
        ({"seed": 0}, {"seed"}),
        ({"stop": "END"}, {"stop"}),
        ({"stop": ["a", "b"]}, {"stop"}),
        ({"logit_bias": {"50256": -100}}, {"logit_bias"}),
        ({"prediction": {"type": "content", "content": "x"}}, {"prediction"}),
        ({"reasoning_effort": "low"}, {"reasoning_effort"}),
        (parts("text", "image_url"), {"vision"}),
        (parts("input_audio"), {"audio"}),
        (parts("image_url", "input_audio") | {"seed": 1, "n": 3}, {"vision", "audio", "seed", "n"}),
    ],
)
def test_each_need_is_found(request_: Mapping[str, object], expected: set[str]) -> None:
    assert needs({**PLAIN, **request_}) == expected


@pytest.mark.parametrize(
    "request_",
    [
        {"tools": []},
        {"functions": []},
        {"response_format": {"type": "text"}},
        {"modalities": ["text"]},
        {"logprobs": False, "top_logprobs": 0},
        {"n": 1},
        {"n": True},
        {"stop": []},
        {"logit_bias": {}},
        parts("text"),
        parts("file", None, 7, ["image_url"]),
    ],
)
def test_what_asks_for_nothing_is_no_need(request_: Mapping[str, object]) -> None:
    assert needs({**PLAIN, **request_}) == frozenset()


def test_null_means_absent_everywhere() -> None:
    names = [name for dropped in DROPPABLE.values() for name in dropped]
    names += ["tools", "functions", "response_format", "modalities", "n", "web_search_options", "messages"]
    assert needs(dict.fromkeys(names)) == frozenset()


def test_images_in_an_early_message_count() -> None:
    request: dict[str, object] = parts("image_url")
    first = request["messages"]
    assert isinstance(first, list)
    first.append({"role": "user", "content": "And now?"})
    assert needs(request) == {"vision"}


@pytest.mark.parametrize("need", sorted(DROPPABLE))
def test_leaving_out_its_parameters_makes_a_droppable_need_vanish(need: str) -> None:
    asked: dict[str, object] = {**PLAIN, **dict.fromkeys(DROPPABLE[need], 1)}
    assert needs(asked) == {need}
    assert needs({name: value for name, value in asked.items() if name not in DROPPABLE[need]}) == frozenset()


def test_what_changes_the_kind_of_answer_is_never_dropped() -> None:
    kept = {"tools", "vision", "audio", "json_object", "json_schema", "n", "web_search", "chat", "embeddings"}
    assert NEEDS - DROPPABLE.keys() == kept


def test_every_need_has_words_and_an_unknown_one_stays_as_it_is() -> None:
    assert len({describe(need) for need in NEEDS}) == len(NEEDS)
    assert describe("vision") == "images"
    assert describe("json_schema") == "answers by a JSON schema"
    assert describe("telepathy") == "telepathy"


@given(st.dictionaries(st.sampled_from(["messages", "tools", "n", "stop", "response_format", "modalities"]), JSON))
def test_any_json_is_read_without_a_fault(request_: dict[str, object]) -> None:
    assert needs(request_) <= NEEDS


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content"]), JSON) | JSON))
def test_any_messages_are_read_without_a_fault(messages: list[object]) -> None:
    assert needs({"messages": messages}) <= {"vision", "audio"}


@pytest.mark.parametrize(("need", "parameter"), [("tools", "tools"), ("json_schema", "response_format"), ("x", "x")])
def test_a_need_names_the_parameter_that_asks_for_it(need: str, parameter: str) -> None:
    assert parameter_of(need) == parameter
