import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.replay import completion_from, stream_from, usage_object
from proxy.wire.usage import Usage, read_usage
from tests.fakes import completion, sse_chunks, sse_event

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "upstream-model"}


def chunks(block: bytes) -> list[dict[str, Any]]:
    events = block.split(b"\n\n")[:-1]
    assert events.pop() == b"data: [DONE]"
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    return sse_event({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def test_a_stream_comes_to_the_completion_that_says_the_same() -> None:
    document = completion_from(b"".join(sse_chunks("Hel", "lo!")), Usage(5, 2))
    assert document is not None
    assert read_usage(document.pop("usage")) == Usage(5, 2)
    expected = completion("Hello!")
    del expected["usage"]
    assert document == expected


def test_what_stands_beside_the_text_goes_along() -> None:
    events = (
        sse_event({**HEAD, "choices": [], "prompt_filter_results": [{}]}),
        chunk({"role": "assistant", "content": "", "refusal": None}, obfuscation="xx", system_fingerprint="fp"),
        chunk({"reasoning_content": "Hm. "}),
        chunk({"reasoning_content": "So."}),
        chunk({"content": "Yes"}, service_tier="default"),
        chunk({}, "stop"),
        b"data: [DONE]\n\n",
    )
    document = completion_from(b"".join(events), None)
    assert document is not None
    assert document["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Yes",
        "refusal": None,
        "reasoning_content": "Hm. So.",
    }
    assert (document["system_fingerprint"], document["service_tier"]) == ("fp", "default")
    assert "usage" not in document


@pytest.mark.parametrize(
    "event",
    [
        chunk({"tool_calls": [{"index": 0, "id": "call_1"}]}),
        chunk({"refusal": "I can't."}),
        chunk({"content": "a"}, citations=["https://…"]),
        sse_event({**HEAD, "choices": [{"index": 1, "delta": {"content": "a"}}]}),
        sse_event({**HEAD, "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}]}),
        sse_event({**HEAD, "choices": [{"index": 0, "delta": {}}, {"index": 0, "delta": {}}]}),
        b": waystation: continued at main/m\n\n",
        b"data: {\n\n",
        b"data: 7\n\n",
    ],
)
def test_a_stream_that_says_more_comes_to_nothing(event: bytes) -> None:
    assert completion_from(chunk({"content": "a"}) + event + b"data: [DONE]\n\n", None) is None


def test_a_completion_becomes_the_stream_that_says_the_same() -> None:
    body = json.dumps(completion("Hello!")).encode()
    first, text, last = chunks(stream_from(body, include_usage=False))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (text["choices"][0]["delta"], text["choices"][0]["finish_reason"]) == ({"content": "Hello!"}, None)
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert all({name: one[name] for name in HEAD} == HEAD and "usage" not in one for one in (first, text, last))


def test_usage_comes_last_and_only_where_it_was_asked_for() -> None:
    *rest, last = chunks(stream_from(json.dumps(completion()).encode(), include_usage=True))
    assert [one["usage"] for one in rest] == [None] * 3
    assert last["choices"] == []
    assert last["usage"] == completion()["usage"]
    unknown = {name: value for name, value in completion().items() if name != "usage"}
    assert all(one["choices"] for one in chunks(stream_from(json.dumps(unknown).encode(), include_usage=True)))


@given(st.text(max_size=10_000), st.text(max_size=100))
def test_no_text_is_lost_on_the_way_there_and_back(text: str, reasoning: str) -> None:
    document = completion(text)
    document["choices"][0]["message"]["reasoning_content"] = reasoning
    block = stream_from(json.dumps(document).encode(), include_usage=False)
    assert max(map(len, block.split(b"\n"))) < 64_000
    back = completion_from(block, None)
    assert back is not None
    message = back["choices"][0]["message"]
    assert (message["content"], message.get("reasoning_content", "")) == (text, reasoning)


def test_usage_is_written_so_that_it_is_read_as_it_was() -> None:
    usage = Usage(1, 2, 4, 0, 16, 32, 64)
    assert read_usage(usage_object(usage)) == usage
