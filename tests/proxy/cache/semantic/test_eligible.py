from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.cache.key import IGNORED
from proxy.cache.semantic.eligible import MAX_BYTES, MIN_BYTES, Ineligible, ineligible, question, scope_key
from proxy.wire.chat import ChatRequest, read_chat_request

SCOPE = b"s" * 32
ASK = "How do I cancel my order?"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
HISTORY = [{"role": "user", "content": "Hello there"}, {"role": "assistant", "content": "Hello!"}]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(st.text(min_size=1, max_size=6).map("x_{}".format), values, max_size=4)


def request(ask: Any = ASK, *, before: list[Any] | None = None, **rest: Any) -> ChatRequest:
    body = {"model": "chat", "messages": [*(before or []), {"role": "user", "content": ask}], **rest}
    return read_chat_request(body, 100)


def why(ask: Any = ASK, **rest: Any) -> Ineligible | None:
    return ineligible(request(ask, **rest))


def test_a_plain_question_is_eligible() -> None:
    assert why() is None
    assert why(temperature=0.3, tools=[TOOL], tool_choice="none", n=1) is None
    assert why([{"type": "text", "text": ASK}]) is None
    assert why(response_format={"type": "json_schema", "json_schema": {"name": "a"}}) is None
    assert why("怎么取消我的订单？") is None
    assert why(before=[{"role": "system", "content": "Be brief."}]) is None
    assert why(before=HISTORY) is None


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"functions": [{"name": "f"}], "function_call": "auto"}, "tools"),
        ({"before": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "not_text"),
        ({"before": [{"role": "tool", "content": "4", "tool_call_id": "a"}]}, "not_text"),
        ({"before": [{"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]}]}, "not_text"),
    ],
)
def test_requests_that_want_something_else_are_not(rest: dict[str, Any], reason: Ineligible) -> None:
    assert why(**rest) == reason


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        ("a" * (MIN_BYTES - 1), "short"),
        ("继续", "short"),
        ("a" * (MAX_BYTES + 1), "long"),
        ("What's the weather in Rome today?", "time"),
        ("What is the latest iPhone?", "time"),
        ("How much is it this week?", "time"),
        ("今天北京天气怎么样？", "time"),
        ("最新的手机是哪款？", "time"),
        ("Why did jane@example.org write?", "personal"),
        ([{"type": "text", "text": ASK}, {"type": "input_audio", "input_audio": {}}], "not_text"),
        (None, "not_text"),
    ],
)
def test_questions_whose_answer_is_for_one_moment_or_person_are_not(ask: Any, reason: Ineligible) -> None:
    assert why(ask) == reason


@pytest.mark.parametrize(
    "ask", ["How do I cancel it?", "And what about Rome?", "Which one is better?", "它多少钱一斤？", "这个怎么取消呢？"]
)
def test_a_question_that_points_back_needs_its_history(ask: str) -> None:
    assert why(ask, before=HISTORY) == "history"
    assert why(ask) is None


def test_only_a_user_asks() -> None:
    body: dict[str, Any] = {"model": "chat", "messages": [{"role": "assistant", "content": ASK}]}
    assert ineligible(read_chat_request(body, 9)) == "not_a_question"


def test_the_question_is_the_last_message() -> None:
    assert question(request(before=HISTORY)) == ASK
    assert question(request([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])) == "a\nb"
    assert question(request(None)) == ""


@given(st.text(max_size=9), st.text(max_size=9))
def test_the_last_message_is_not_in_the_scope(one: str, other: str) -> None:
    assert scope_key(SCOPE, "a", request(one)) == scope_key(SCOPE, "a", request(other)) is not None


def said(body: dict[str, Any]) -> bytes:
    kept = {name: value for name, value in body.items() if name not in IGNORED and value is not None}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


@given(fields, fields)
def test_two_requests_share_a_scope_only_if_all_else_is_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = scope_key(SCOPE, "a", request("a", **one)) == scope_key(SCOPE, "a", request("b", **other))
    assert same == (said(one) == said(other))


@given(fields, st.text(min_size=1, max_size=6), values)
def test_any_other_field_is_in_the_scope(one: dict[str, Any], name: str, value: Any) -> None:
    assume(name not in IGNORED and name not in one and value is not None)
    assume(name not in ("messages", "stream"))
    plain = ChatRequest({"messages": [{"role": "user", "content": "a"}], **one}, "chat", False, False, 1)
    more = ChatRequest({**plain.body, name: value}, "chat", False, False, 1)
    assert scope_key(SCOPE, "a", plain) != scope_key(SCOPE, "a", more)


def test_team_model_history_and_name_are_in_the_scope() -> None:
    asked = [
        scope_key(SCOPE, "a", request()),
        scope_key(SCOPE, "b", request()),
        scope_key(b"t" * 32, "a", request()),
        scope_key(SCOPE, "a", request(before=HISTORY)),
        scope_key(SCOPE, "a", request(before=[{"role": "system", "content": "Be brief."}])),
        scope_key(
            SCOPE, "a", read_chat_request({"model": "m", "messages": [{"role": "user", "content": "", "name": "x"}]}, 9)
        ),
    ]
    assert len(set(asked)) == len(asked)


def test_what_cannot_be_written_has_no_scope() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    assert scope_key(SCOPE, "a", request(x=deep)) is None
    assert scope_key(SCOPE, "a", ChatRequest({}, "chat", False, False, 1)) is None


def test_100_000_random_requests_share_a_scope_only_within_team_model_history_and_parameters() -> None:
    rng = Random(5)
    words = ["cancel", "don't cancel", "1", "1.0", "", "a b", "ab"]
    seen: dict[bytes, tuple[Any, ...]] = {}
    for _ in range(100_000):
        history = [
            {"role": rng.choice(["system", "user", "assistant"]), "content": rng.choice(words)}
            for _ in range(rng.randint(0, 2))
        ]
        body: dict[str, Any] = {"messages": [*history, {"role": "user", "content": rng.choice(words)}]}
        if rng.random() < 0.5:
            body[rng.choice(["seed", "top_p", "max_tokens"])] = rng.choice([1, 1.0, 0, 0.5, True])
        team, scope = rng.choice(["a", "b", "ab", ""]), rng.choice([b"s" * 32, b"t" * 32])
        rest = orjson.dumps({**body, "messages": history}, option=orjson.OPT_SORT_KEYS)
        found = scope_key(scope, team, ChatRequest(body, "chat", False, False, 1))
        assert found is not None
        assert seen.setdefault(found, (team, scope, rest)) == (team, scope, rest)
    assert len(seen) > 5_000
