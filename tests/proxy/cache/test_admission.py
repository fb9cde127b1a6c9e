import json
from typing import Any

import pytest

from proxy.cache.admission import MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, is_eligible, unfit
from proxy.wire.chat import parse_chat_request
from tests.fakes import completion


def eligible(is_sampled: bool = False, **fields: Any) -> bool:
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return is_eligible(parse_chat_request(json.dumps(body).encode()), is_sampled=is_sampled)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0},
        {"temperature": 0.3},
        {"n": 1},
        {"store": False},
        {"stream": True},
        {"modalities": ["text"]},
        {"enable_search": False},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
def test_a_plain_request_is_eligible(fields: dict[str, Any]) -> None:
    assert eligible(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"store": True},
        {"logprobs": True},
        {"audio": {"voice": "a"}},
        {"modalities": ["text", "audio"]},
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"plugins": [{"id": "web"}]},
        {"search_parameters": {"mode": "on"}},
        {"enable_search": True},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://h/a.png"}]}]},
        {"x_padding": "x" * MAX_REQUEST_BYTES},
    ],
)
def test_one_that_wants_more_than_a_text_is_not(fields: dict[str, Any]) -> None:
    assert not eligible(**fields)
    assert not eligible(is_sampled=True, **fields)


@pytest.mark.parametrize("temperature", [0.31, 1, 2.0, -1])
def test_who_asks_for_chance_gets_it_unless_the_config_says_otherwise(temperature: float) -> None:
    assert not eligible(temperature=temperature)
    assert eligible(is_sampled=True, temperature=temperature)


def reason(message: dict[str, Any] | None = None, choice: dict[str, Any] | None = None, **top: Any) -> str | None:
    document = completion()
    document["choices"][0]["message"] |= message or {}
    document["choices"][0] |= choice or {}
    return unfit(document | top, 100)


def test_a_whole_answer_is_kept() -> None:
    assert reason() is None
    assert reason({"reasoning_content": "Hm.", "tool_calls": [], "annotations": [], "audio": None}) is None
    assert reason(choice={"content_filter_results": {"hate": {"filtered": False}}}, prompt_filter_results=[{}]) is None


@pytest.mark.parametrize("finish_reason", ["length", "content_filter", "tool_calls", "function_call", None, "end"])
def test_one_that_did_not_come_to_its_end_is_not(finish_reason: str | None) -> None:
    assert reason(choice={"finish_reason": finish_reason}) == "unfinished"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"content": ""}, "no_text"),
        ({"content": None}, "no_text"),
        ({"refusal": "I can't."}, "strange"),
        ({"tool_calls": [{"id": "call_1"}]}, "strange"),
        ({"annotations": [{"type": "url_citation"}]}, "strange"),
        ({"audio": {"data": "…"}}, "strange"),
        ({"reasoning": {"text": "Hm."}}, "strange"),
    ],
)
def test_one_that_says_more_than_text_is_not(message: dict[str, Any], why: str) -> None:
    assert reason(message) == why


def test_what_nobody_here_knows_is_not_kept() -> None:
    assert reason(citations=["https://…"]) == "strange"
    assert reason(choice={"logprobs": {"content": []}}) == "strange"
    assert reason(choices=[]) == "unfinished"
    assert reason(choices=[*completion()["choices"], *completion()["choices"]]) == "unfinished"


def test_one_that_is_too_large_is_not() -> None:
    assert unfit(completion(), MAX_ANSWER_BYTES + 1) == "too_large"
