import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.chat import ChatRequest, parse_chat_request
from proxy.wire.failure import MalformedAnswer
from proxy.wire.seam import Seam, can_be_resumed, last_words, overlap, resuming_messages, tokens_in
from tests.fakes import sse_chunks, sse_event

TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps in the warm afternoon sun of the old garden."


def request(**fields: Any) -> ChatRequest:
    body = {"model": "chat", "messages": [{"role": "user", "content": "Go"}], "stream": True, **fields}
    return parse_chat_request(json.dumps(body).encode())


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse_event({"id": "two", "created": 2, "model": "other", "choices": [choice], **fields})


def cut_after(*texts: str) -> Seam:
    seam = Seam()
    for block in sse_chunks(*texts, finish=None, done=False):
        seam.passed(block)
    assert seam.resume(request()) is not None
    return seam


def joined(seam: Seam, *blocks: bytes) -> list[dict[str, Any]]:
    events = b"".join(seam.join(block) for block in blocks).split(b"\n\n")[:-1]
    return [json.loads(event.removeprefix(b"data: ")) for event in events if event != b"data: [DONE]"]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"])


@pytest.mark.parametrize(
    ("fields", "can"),
    [
        ({}, True),
        ({"response_format": {"type": "text"}}, True),
        ({"tools": [{"type": "function"}]}, True),
        ({"n": 2}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"logprobs": True}, False),
        ({"audio": {"voice": "a"}}, False),
    ],
)
def test_only_one_plain_text_can_be_resumed(fields: dict[str, Any], can: bool) -> None:
    assert can_be_resumed(request(**fields)) is can


def test_the_rest_is_asked_for_with_the_text_so_far_and_what_is_left_of_the_cap() -> None:
    seam = Seam()
    for block in sse_chunks("abcd" * 25, "efgh" * 25, finish=None, done=False):
        seam.passed(block)
    asked = seam.resume(request(max_tokens=100, max_completion_tokens=30))
    assert asked is not None
    assert asked.text_so_far == "abcd" * 25 + "efgh" * 25
    assert (asked.body["max_tokens"], asked.body["max_completion_tokens"]) == (50, 16)


def test_a_long_answer_is_read_in_pieces() -> None:
    seam, words = Seam(), ["word " * 20] * 1000
    for block in sse_chunks(*words, finish=None, done=False):
        seam.passed(block)
    asked = seam.resume(request())
    assert asked is not None
    assert asked.text_so_far == "".join(words)


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]},
        {"refusal": "No"},
        {"audio": {"id": "a"}},
        {"reasoning_content": "Let me think"},
    ],
)
def test_what_is_no_text_is_not_gone_on_with(delta: dict[str, Any]) -> None:
    seam = Seam()
    seam.passed(chunk({"role": "assistant", "content": ""}))
    seam.passed(chunk(delta))
    assert seam.resume(request()) is None


def test_text_after_a_train_of_thought_is_gone_on_with_and_the_others_thoughts_are_left_out() -> None:
    seam = Seam()
    seam.passed(chunk({"role": "assistant", "reasoning_content": "Hmm"}))
    seam.passed(chunk({"content": TEXT[:30]}))
    assert seam.resume(request()) is not None
    rest = joined(seam, chunk({"reasoning_content": "Well"}), chunk({"content": TEXT[10:]}), chunk({}, "stop"))
    assert TEXT[:30] + text_of(rest) == TEXT
    assert all("reasoning_content" not in one["choices"][0]["delta"] for one in rest)


@pytest.mark.parametrize("last", [chunk({}, "stop"), b"data: [DONE]\n\n", sse_event({"choices": [], "usage": {}})])
def test_an_answer_that_was_whole_is_not_gone_on_with(last: bytes) -> None:
    seam = Seam()
    seam.passed(chunk({"content": "Done."}))
    seam.passed(last)
    assert seam.resume(request()) is None


def test_the_rest_looks_like_the_same_answer_but_names_its_own_model() -> None:
    seam = cut_after(TEXT[:30])
    rest = joined(seam, *sse_chunks(TEXT[20:], usage=(30, 20)))
    assert {(one["id"], one["created"]) for one in rest} == {("chatcmpl-1", 1_790_000_000)}
    assert {one["model"] for one in rest} == {"upstream-model"}
    assert all("role" not in one["choices"][0]["delta"] for one in rest if one["choices"])
    assert rest[-1]["usage"]["completion_tokens"] == 20
    assert rest[-2]["choices"][0]["finish_reason"] == "stop"


def test_before_any_text_the_rest_is_the_whole() -> None:
    seam = cut_after()
    rest = joined(seam, *sse_chunks("Hello", " there"))
    assert text_of(rest) == "Hello there"


def test_an_answer_that_is_cut_twice_goes_on_from_all_that_came() -> None:
    seam = cut_after(TEXT[:30])
    first = joined(seam, chunk({"role": "assistant", "content": ""}), chunk({"content": TEXT[15:60]}))
    asked = seam.resume(request())
    assert asked is not None
    assert asked.text_so_far == TEXT[:60] == TEXT[:30] + text_of(first)
    assert text_of(joined(seam, chunk({"content": TEXT[40:]}, "stop"))) == TEXT[60:]


def test_a_repetition_without_an_end_is_handed_out_before_done() -> None:
    seam = cut_after(TEXT[:40])
    block = chunk({"content": "fox jumps"}) + b"data: [DONE]\n\n"
    rest = joined(seam, block)
    assert text_of(rest) == "fox jumps"  # it repeats something, but not the end


def test_what_only_repeats_the_end_adds_nothing() -> None:
    seam = cut_after(TEXT)
    assert text_of(joined(seam, chunk({"content": TEXT[-20:]}), chunk({}, "stop"))) == ""


def test_blanks_at_the_cut_may_differ() -> None:
    seam = cut_after("First line of it.\n\n")
    assert text_of(joined(seam, chunk({"content": "line of it.\nSecond"}), chunk({}, "stop"))) == "Second"


def test_a_rest_that_repeats_nothing_is_taken_as_it_is() -> None:
    seam = cut_after("The quick")
    assert text_of(joined(seam, chunk({"content": " brown fox"}), chunk({}, "stop"))) == " brown fox"


@given(cut=st.integers(10, len(TEXT) - 1), repeated=st.integers(8, 200), sizes=st.lists(st.integers(1, 25), min_size=1))
def test_however_much_is_repeated_and_however_it_is_cut_the_text_is_whole(
    cut: int, repeated: int, sizes: list[int]
) -> None:
    seam, rest = cut_after(TEXT[:cut]), TEXT[max(0, cut - repeated) :]
    blocks, at = [chunk({"role": "assistant", "content": ""})], 0
    while at < len(rest):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(chunk({"content": rest[at : at + size]}))
        at += size
    assert TEXT[:cut] + text_of(joined(seam, *blocks, chunk({}, "stop"))) == TEXT


@pytest.mark.parametrize(
    ("before", "after", "length"),
    [
        ("see the", "he is", 0),  # two letters repeat nothing
        ("a warm sun", "warm sun sets", 8),
        ("一二三四五", "三四五六", 3),
        ("五", "五六", 1),  # all there was
        ("abc", "", 0),
    ],
)
def test_an_overlap_is_more_than_chance(before: str, after: str, length: int) -> None:
    assert overlap(before, after) == length


def test_the_last_words_are_whole_ones() -> None:
    assert last_words(TEXT) == "warm afternoon sun of the old garden."
    assert last_words("Short") == "Short"
    assert last_words("字" * 100) == "字" * 40


def test_a_model_is_told_in_words_to_go_on_unless_it_needs_none() -> None:
    [so_far] = resuming_messages(TEXT, in_words=False)
    assert so_far == {"role": "assistant", "content": TEXT}
    [again, told] = resuming_messages(TEXT, in_words=True)
    assert again == so_far
    assert told["role"] == "user"
    assert told["content"].endswith("\nwarm afternoon sun of the old garden.")


def test_tokens_are_guessed_by_bytes() -> None:
    assert (tokens_in("abcdefgh"), tokens_in("字字字字")) == (2, 3)


@pytest.mark.parametrize("before", ['"', "...", "…", "```\n", "Sure, here is the rest:\n\n", " \n"])
def test_what_stands_before_the_repeated_words_is_left_out(before: str) -> None:
    seam = cut_after(TEXT[:60])
    rest = joined(seam, chunk({"content": before}), chunk({"content": last_words(TEXT[:60]) + TEXT[60:]}, "stop"))
    assert TEXT[:60] + text_of(rest) == TEXT


def test_blanks_between_the_repeated_words_may_differ() -> None:
    code = "def f(a):\n    return sum(\n        one for"
    seam = cut_after(code)
    rest = joined(seam, chunk({"content": " ".join(last_words(code).split()) + " two in a)"}, "stop"))
    assert text_of(rest) == " two in a)"


def test_an_event_that_nobody_can_read_ends_the_chance_of_going_on_and_nothing_else() -> None:
    half = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'
    seam = Seam()
    seam.passed(half)
    assert seam.resume(request()) is None
    assert cut_after(TEXT[:30]).join(half) == half


def test_azures_word_on_the_prompt_is_not_the_end() -> None:
    seam = Seam()
    seam.passed(sse_event({"id": "", "choices": [], "prompt_filter_results": []}))
    seam.passed(chunk({"content": "Half"}))
    asked = seam.resume(request())
    assert asked is not None
    assert asked.text_so_far == "Half"


def test_an_answer_anew_in_other_words_is_no_rest() -> None:
    seam = cut_after(TEXT[:60])
    with pytest.raises(MalformedAnswer):
        joined(seam, chunk({"content": TEXT[:20] + "leapt"}), chunk({}, "stop"))


def test_a_long_answer_is_joined_once_and_not_at_every_token() -> None:
    seam = Seam()
    block = chunk({"content": "abcd"})
    for _ in range(100_000):
        seam.passed(block)
    asked = seam.resume(request())
    assert asked is not None
    assert len(asked.text_so_far) == 400_000
