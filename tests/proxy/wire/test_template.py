"""Chunks that differ in their text alone."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.template import ChunkTemplate

NULL_USAGE = re.compile(rb',"usage":null')


def event(content: str, **members: object) -> bytes:
    return (
        b"data: "
        + orjson.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": content}}]} | members)
        + b"\n\n"
    )


def learned(sample: bytes) -> ChunkTemplate:
    template = ChunkTemplate()
    template.learn(sample, sample, NULL_USAGE)
    return template


def test_nothing_matches_before_anything_was_learned() -> None:
    assert ChunkTemplate().match(event("a")) is None
    assert ChunkTemplate().match(b"") is None


@given(st.text())
def test_other_text_matches_as_the_same_object(content: str) -> None:
    other = event(content)
    matched = learned(event("a")).match(other)
    assert matched is other or (matched is None and "\\" in content)


@given(st.text(), st.text())
def test_padding_may_differ_too(content: str, padding: str) -> None:
    sample, other = event("a", usage=None, obfuscation="b"), event(content, usage=None, obfuscation=padding)
    assert learned(sample).match(other) in (other, None)
    template = ChunkTemplate()
    template.learn(sample, NULL_USAGE.sub(b"", sample), NULL_USAGE)
    assert template.match(other) in (NULL_USAGE.sub(b"", other), None)
    assert template.match(event("plain", usage=None, obfuscation="")) == event("plain", obfuscation="")


def test_escaped_quotation_marks_are_text() -> None:
    other = event('say "x", "y"')
    assert learned(event("a")).match(other) is other


@pytest.mark.parametrize(
    "other",
    [
        event("x", usage={"prompt_tokens": 1}),
        event("x", error={"message": "x"}),
        event("x") + event("y"),
        event("x")[:-3],
        event("x\\"),
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x","role":"assistant"}}]}\n\n',
        b'data: {"id":"c","choices":[{"index":1,"delta":{"content":"x"}}]}\n\n',
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x',
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_any_other_difference_is_another_shape(other: bytes) -> None:
    assert learned(event("a")).match(other) is None


@pytest.mark.parametrize(
    "other",
    [
        event("x", obfuscation="y", usage={}),
        event("x", obfuscation='y"'),
        event("x", obfuscated="yyy"),
        event("x", obfuscation="y")[:-5] + b"!!}\n\n",
        event("x"),
    ],
)
def test_any_other_difference_around_padding_is_another_shape(other: bytes) -> None:
    assert learned(event("a", obfuscation="b")).match(other) is None


@pytest.mark.parametrize(
    "sample", [event('a"'), event("a", obfuscation='b"'), b'data: {"id":"c"}\n\n', b"data: [DONE]\n\n"]
)
def test_samples_without_plain_text_teach_nothing(sample: bytes) -> None:
    template = learned(event("a"))
    template.learn(sample, sample, NULL_USAGE)
    other = event("b")
    assert template.match(other) is other


def test_last_lesson_counts() -> None:
    template = learned(event("a"))
    reasoning = b'data: {"choices": [{"delta": {"content": null, "reasoning_content": "hm"}}]}\n\n'
    template.learn(reasoning, reasoning, NULL_USAGE)
    assert template.match(event("b")) is None
    assert template.match(reasoning.replace(b"hm", b"aha")) is not None


@given(texts=st.lists(st.text(max_size=8), min_size=1, max_size=6), odd=st.integers(0, 7))
def test_runs_hold_only_events_of_the_shape(texts: list[str], odd: int) -> None:
    template = learned(event("a"))
    events = [event(text) for text in texts]
    events.insert(odd, event("x", usage={}))
    run = template.run(b"".join(events), 0)
    assert b"".join(events).startswith(run)
    for one in run.split(b"\n\n")[:-1]:
        assert set(orjson.loads(one.removeprefix(b"data: "))) == {"id", "choices"}


def test_runs_reach_to_the_last_event_of_the_shape() -> None:
    template = learned(event("a"))
    words, finish = event("one") + event("two") + event("three"), b'data: {"choices":[]}\n\n'
    assert template.run(words + finish + b"data: [DONE]\n\n", 0) == words
    assert template.run(finish + words, len(finish)) == words
    assert template.run(finish + words, 0) == b""
    assert template.run(event("a") + finish + event("b"), 0) == b""
