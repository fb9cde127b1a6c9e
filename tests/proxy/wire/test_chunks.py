"""Streamed chat completions, normalised and watched."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from proxy.wire.chunks import ChatChunks, error_event
from proxy.wire.failure import ErrorBody, MalformedAnswer
from proxy.wire.usage import Usage

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def data(chunk: object) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def chunk(delta: object = None, *, index: object = 0, finish: object = None, **members: object) -> bytes:
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    return bare(choices=[choice], **members)


def bare(**members: object) -> bytes:
    return data({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"} | members)


def text(content: str, **members: Any) -> bytes:
    return chunk({"content": content}, **members)


def role(**members: Any) -> bytes:
    return chunk({"role": "assistant", "content": ""}, **members)


STOP = chunk(finish="stop")
USAGE_CHUNK = bare(choices=[], usage=USAGE)


def through(*blocks: bytes, include_usage: bool = False, n: int = 1) -> bytes:
    chunks = ChatChunks(include_usage, n)
    return b"".join([chunks.feed(block) for block in blocks]) + chunks.finish()


def documents(stream: bytes) -> list[Any]:
    return [orjson.loads(event[6:]) for event in stream.split(b"\n\n")[:-1] if event != b"data: [DONE]"]


def deltas(stream: bytes) -> list[Any]:
    return [document["choices"][0]["delta"] for document in documents(stream)]


# -- what is normal stays as it is --


def test_normal_stream_passes_byte_by_byte() -> None:
    events = [role(), text("a"), text("b"), STOP, DONE]
    assert through(*events) == b"".join(events)
    assert through(b"".join(events)) == b"".join(events)


def test_plain_text_passes_as_the_object_it_came_as() -> None:
    chunks = ChatChunks(include_usage=False)
    for block in (role(), text("a"), text("b"), text('"quoted"'), text("c")):
        assert chunks.feed(block) is block


def test_unknown_members_and_numbers_are_not_touched() -> None:
    block = b'data: {"x": {"y": 1.50}, "choices": [{"delta": {"content": "a", "z": 1e2}, "index": 0}]}\n\n'
    assert through(block) == block


def test_azures_first_chunk_without_choices_passes() -> None:
    first = bare(choices=[], prompt_filter_results=[{"prompt_index": 0}])
    chunks = ChatChunks(include_usage=False)
    assert chunks.feed(first) is first
    assert not chunks.started


# -- roles, choices --


def test_role_is_sent_once_for_each_choice() -> None:
    both = bare(
        choices=[
            {"index": 0, "delta": {"role": "assistant", "content": "a"}},
            {"index": 1, "delta": {"role": "assistant"}},
        ]
    )
    later = both.replace(b'"a"', b'"b"')
    out = documents(through(both, later, n=2))
    assert [choice["delta"].get("role") for document in out for choice in document["choices"]] == [
        "assistant",
        "assistant",
        None,
        None,
    ]
    assert out[1]["choices"][0]["delta"] == {"content": "b"}


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_role_is_removed_and_a_later_one_kept(empty: object) -> None:
    out = deltas(through(chunk({"role": empty, "content": "a"}), role()))
    assert out == [{"content": "a"}, {"role": "assistant", "content": ""}]


@pytest.mark.parametrize("choices", [None, {}, ""])
def test_choices_are_always_an_array(choices: object) -> None:
    assert documents(through(bare(choices=choices)))[0]["choices"] == []


def test_missing_index_and_delta_are_filled_in() -> None:
    out = documents(through(bare(choices=[{"delta": {"content": "a"}}, {"index": None, "delta": None}]), n=2))
    assert out[0]["choices"] == [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {}}]


@pytest.mark.parametrize("noise", [b"data: {}\n\n", data({"type": "ping"}), b"data:   \n\n"])
def test_what_is_no_chunk_and_no_error_is_dropped(noise: bytes) -> None:
    assert through(text("a"), noise, text("b") + noise + text("c")) == text("a") + text("b") + text("c")


# -- usage --


def test_usage_chunk_is_hidden_unless_asked_for() -> None:
    chunks = ChatChunks(include_usage=False)
    out = [chunks.feed(block) for block in (text("a"), STOP, USAGE_CHUNK, DONE)]
    assert out == [text("a"), STOP, b"", DONE]
    assert chunks.usage == Usage(3, 2)


def test_usage_chunk_that_was_asked_for_comes_last() -> None:
    assert through(text("a"), STOP, USAGE_CHUNK, DONE, include_usage=True) == text("a") + STOP + USAGE_CHUNK + DONE


@pytest.mark.parametrize("include_usage", [True, False])
def test_null_usage_is_for_those_who_asked(include_usage: bool) -> None:
    blocks = [role(usage=None), text("a", usage=None), text("b", usage=None), chunk(finish="stop", usage=None)]
    plain = [role(), text("a"), text("b"), STOP]
    assert through(*blocks, DONE, include_usage=include_usage) == b"".join(blocks if include_usage else plain) + DONE


def test_null_usage_goes_wherever_it_stands() -> None:
    first = b'data: {"usage": null, "choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
    spaced = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": null}\n\n'
    out = through(first, first, spaced, spaced)
    assert b"usage" not in out
    assert deltas(out) == [{"content": "a"}] * 4


def test_null_usage_in_the_text_is_text() -> None:
    blocks = [text(',"usage":null', usage=None), text(', "usage": null', usage=None)] * 2
    assert deltas(through(*blocks)) == [{"content": ',"usage":null'}, {"content": ', "usage": null'}] * 2


@pytest.mark.parametrize("include_usage", [True, False])
def test_usage_that_rides_on_a_chunk_gets_one_of_its_own(include_usage: bool) -> None:
    chunks = ChatChunks(include_usage)
    out = documents(b"".join(map(chunks.feed, [text("a"), chunk(finish="stop", usage=USAGE), DONE])))
    assert chunks.usage == Usage(3, 2)
    finish = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    stop = finish | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if include_usage:
        assert out[1:] == [stop | {"usage": None}, finish | {"choices": [], "usage": USAGE}]
    else:
        assert out[1:] == [stop]


def test_only_the_last_of_cumulative_usages_is_given() -> None:
    growing = [text(str(count), usage=USAGE | {"completion_tokens": count}) for count in range(1, 4)]
    final = bare(choices=[], usage=USAGE | {"completion_tokens": 9})
    chunks = ChatChunks(include_usage=True)
    out = documents(b"".join(map(chunks.feed, [*growing, STOP, final, DONE])))
    assert [document["usage"]["completion_tokens"] for document in out if document.get("usage")] == [9]
    assert chunks.usage == Usage(3, 9)


def test_details_of_an_earlier_usage_are_kept_where_a_later_one_has_none() -> None:
    early = USAGE | {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens": 1}
    chunks = ChatChunks(include_usage=True)
    out = documents(b"".join(map(chunks.feed, [text("a", usage=early), STOP, USAGE_CHUNK, DONE])))
    assert chunks.usage == Usage(1, 2, cached_tokens=2)
    assert out[-1]["usage"] == USAGE  # the client's is as it came


@pytest.mark.parametrize("choices", [[], None])
def test_usage_is_taken_from_a_chunk_without_choices(choices: object) -> None:
    chunks = ChatChunks(include_usage=False)
    assert chunks.feed(bare(choices=choices, usage=USAGE)) == b""
    assert chunks.usage == Usage(3, 2)


MOONSHOT = bare(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}])
GROQ = chunk(finish="stop", x_groq={"id": "req_1", "usage": USAGE})


@pytest.mark.parametrize("block", [MOONSHOT, GROQ, bare(choices=[], x_groq={"usage": USAGE})])
def test_usage_in_a_place_of_the_providers_own_is_found_and_left_there(block: bytes) -> None:
    chunks = ChatChunks(include_usage=True)
    assert chunks.feed(text("a") + block) == text("a") + block
    assert chunks.usage == Usage(3, 2)
    assert chunks.feed(DONE) == USAGE_CHUNK + DONE


@pytest.mark.parametrize("about", [None, "x", [], {}, {"usage": None}, {"usage": "x"}, {"usage": {}}])
def test_no_usage_in_a_place_of_the_providers_own_is_none(about: object) -> None:
    chunks = ChatChunks(include_usage=True)
    block = bare(choices=[{"index": 0, "delta": {"content": "a"}, "usage": None}], x_groq=about)
    assert chunks.feed(block) + chunks.feed(DONE) == block + DONE
    assert chunks.usage is None


def test_usage_that_comes_with_an_error_is_kept() -> None:
    chunks = ChatChunks(include_usage=False)
    assert chunks.feed(text("a") + bare(error={"message": "Busy"}, usage=USAGE)) == text("a")
    assert chunks.usage == Usage(3, 2)


def test_usage_said_in_two_chunks_is_whole_after_the_second() -> None:
    chunks = ChatChunks(include_usage=False)
    chunks.feed(text("a", usage={"prompt_tokens": 3}))
    assert chunks.usage is None
    chunks.feed(text("b", usage={"completion_tokens": 2}))
    assert chunks.usage == Usage(3, 2)


def test_unreadable_usage_is_not_reported() -> None:
    chunks = ChatChunks(include_usage=True)
    assert documents(chunks.feed(text("a", usage={"prompt_tokens": "x"})))[0]["usage"] is None
    assert chunks.usage is None


# -- errors --


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (data({"error": {"message": "Busy", "type": "t", "code": 503}}), ErrorBody("Busy", "t", status=503)),
        (
            data({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}),
            ErrorBody("Busy", "overloaded_error"),
        ),
        (data({"object": "error", "message": "Busy", "code": 400}), ErrorBody("Busy", status=400)),
        (data({"error": "Busy"}), ErrorBody("Busy")),
        (text("x", error={"message": "Busy"}), ErrorBody("Busy")),
    ],
)
def test_error_ends_the_stream_and_is_no_part_of_it(event: bytes, error: ErrorBody) -> None:
    chunks = ChatChunks(include_usage=False)
    assert chunks.feed(role() + text("a") + event + text("b") + STOP + DONE) == role() + text("a")
    assert (chunks.error, chunks.complete, chunks.done) == (error, False, False)
    assert chunks.feed(text("c")) == b""
    assert chunks.finish() == b""


def test_error_after_the_finish_is_still_one() -> None:
    chunks = ChatChunks(include_usage=False)
    chunks.feed(text("a") + STOP)
    assert chunks.complete
    chunks.feed(data({"error": {"message": "Busy"}}))
    assert not chunks.complete


def test_null_error_and_talk_of_errors_are_none() -> None:
    blocks = [text("a", error=None), text('"error": {"message": "x"}'), text("data: [DONE]")]
    assert through(*blocks) == b"".join(blocks)


@pytest.mark.parametrize(
    "event",
    [b"data: {secret\n\n", b"data: <html>secret\n\n", b'data: "secret"\n\n', b'data: ["secret"]\n\n', b"data: 7\n\n"]
    + [
        bare(choices=choices)
        for choices in ("secret", ["secret"], [{"delta": "secret"}], [{"delta": {"tool_calls": "secret"}}])
    ]
    + [b'data: {"choices":[{"delta":{"x":' + b"[" * 260 + b"]" * 260 + b"}}]}\n\n"],
)
def test_events_that_are_no_chunks_are_malformed(event: bytes) -> None:
    chunks = ChatChunks(include_usage=False)
    chunks.feed(text("a"))
    with pytest.raises(MalformedAnswer) as caught:
        chunks.feed(event)
    assert "secret" not in str(caught.value)


def test_error_event_is_one_event() -> None:
    assert error_event(b'{"error":{}}') == b'data: {"error":{}}\n\n'


# -- the end --


def test_complete_stream_without_done_gets_one() -> None:
    chunks = ChatChunks(include_usage=True)
    chunks.feed(text("a") + STOP + USAGE_CHUNK)
    assert (chunks.complete, chunks.done) == (True, False)
    assert chunks.finish() == USAGE_CHUNK + DONE
    assert chunks.done
    assert chunks.finish() == b""


@pytest.mark.parametrize(
    "blocks", [[], [role()], [text("a")], [text("a", finish="")], [text("a", finish=None), USAGE_CHUNK]]
)
def test_cut_stream_stays_cut(blocks: list[bytes]) -> None:
    chunks = ChatChunks(include_usage=True)
    for block in blocks:
        chunks.feed(block)
    assert not chunks.complete
    assert chunks.finish() == b""


def test_every_choice_must_finish() -> None:
    chunks = ChatChunks(include_usage=False, n=2)
    chunks.feed(text("a") + text("b", index=1) + STOP)
    assert not chunks.complete
    chunks.feed(chunk(index=1, finish="length"))
    assert chunks.complete


def test_done_after_content_is_complete_and_last() -> None:
    chunks = ChatChunks(include_usage=False)
    assert chunks.feed(text("a") + DONE + text("b")) == text("a") + DONE
    assert (chunks.complete, chunks.done) == (True, True)
    assert chunks.feed(text("c")) == b""


def test_done_before_any_content_is_no_answer() -> None:
    chunks = ChatChunks(include_usage=False)
    assert chunks.feed(DONE) == b""
    assert (chunks.started, chunks.done, chunks.complete) == (False, True, False)
    assert chunks.finish() == b""


# -- properties --

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
some_deltas = st.sampled_from(
    [
        {"content": "a"},
        {"content": 'say "x"\n'},
        {"content": "\\"},
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": None, "reasoning_content": "hm"},
        {"tool_calls": [CALL]},
        {"tool_calls": [CALL, CALL | {"id": "b"}]},
        {"tool_calls": [{"index": 0, **CALL}]},
        {"tool_calls": [{"index": 0, **CALL, "id": "z"}]},
        {"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": None},
        None,
        {},
    ]
)
counts = st.integers(0, 3)
some_events = st.one_of(
    st.builds(
        chunk,
        some_deltas,
        index=st.sampled_from([0, 0, 0, 1, None]),
        usage=st.sampled_from([None, None, USAGE]),
        obfuscation=st.text(max_size=3),
    ),
    st.builds(chunk, some_deltas),
    st.builds(text, st.just("a"), x_groq=st.builds(lambda n: {"usage": USAGE | {"completion_tokens": n}}, counts)),
    st.builds(text, st.just("a"), usage=st.builds(lambda n: {"completion_tokens": n}, counts)),
    st.sampled_from([MOONSHOT, GROQ]),
    st.sampled_from([STOP, USAGE_CHUNK, bare(choices=None), DONE, b"data: {}\n\n", data({"error": {"message": "x"}})]),
)


@settings(max_examples=300)
@given(st.lists(some_events, max_size=10), st.booleans(), st.lists(st.integers(0, 10), max_size=4))
def test_blocks_may_be_cut_between_any_events(events: list[bytes], include_usage: bool, cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(events)]
    blocks = [b"".join(events[start:end]) for start, end in pairwise(bounds)]
    assert through(*blocks, include_usage=include_usage) == through(*events, include_usage=include_usage)
    whole, cut = ChatChunks(include_usage), ChatChunks(include_usage)
    for event in events:
        whole.feed(event)
    for block in blocks:
        cut.feed(block)
    assert whole.usage == cut.usage


@settings(max_examples=300)
@given(st.lists(some_events, max_size=10), st.booleans())
def test_normalised_stream_is_normal(events: list[bytes], include_usage: bool) -> None:
    chunks = ChatChunks(include_usage)
    once = b"".join([chunks.feed(event) for event in events])
    if chunks.error is None:
        once += chunks.finish()
    # What an error cut off, its caller ends with an error event; nothing is to be added here.
    again = ChatChunks(include_usage)
    assert again.feed(once) == once
    assert again.error is None
    assert chunks.error is not None or again.finish() == b""


@settings(max_examples=200)
@given(st.lists(some_events, max_size=10))
def test_official_sdk_takes_whatever_comes_out(events: list[bytes]) -> None:
    out = documents(through(text("start"), *events, include_usage=True))
    state = ChatCompletionStreamState()
    for document in out:
        state.handle_chunk(ChatCompletionChunk.model_validate(document))
    message = state.current_completion_snapshot.choices[0].message
    assert message.role in (None, "assistant") or not hasattr(message, "role")
    for call in message.tool_calls or []:
        assert call.id in (None, "a", "b", "z")
