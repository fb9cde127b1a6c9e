"""Server-sent events, cut anywhere and spelled in every way."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.failure import read_error
from proxy.wire.stream import EventTooLarge, SSESplitter


def split(*pieces: bytes, max_event_bytes: int = 1 << 20) -> bytes:
    """Everything that these pieces give, the end included."""
    splitter = SSESplitter(max_event_bytes)
    return b"".join([splitter.feed(piece) for piece in pieces]) + splitter.finish()


def by_bytes(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


payloads = st.one_of(
    st.builds(lambda text: orjson.dumps({"content": text}), st.text(max_size=20)),
    st.sampled_from([b"[DONE]", b'{"a":"\\n"}', b" x", b"data: x", b":", b"\x00", "日本語".encode()]),
)


@st.composite
def spelled_events(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream in some spelling, and the events that it holds in canonical form."""
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    stream = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    events = b""
    for payload in draw(st.lists(payloads, max_size=6)):
        noise = st.sampled_from([b": ping", b":", b"id: 7", b"retry: 10", b"event: message", b"unknown: x", b"id"])
        for line in draw(st.lists(noise, max_size=2)):
            stream += line + end
        stream += draw(
            st.sampled_from([b"", b": alone" + end + end, b"event: ping" + end + end, b"data:" + end + end, end])
        )
        space = b" " if payload.startswith(b" ") else draw(st.sampled_from([b"", b" "]))
        stream += b"data:" + space + payload + end + end
        events += b"data: " + payload + b"\n\n"
    return stream, events


@settings(max_examples=300)
@given(spelled_events(), st.data())
def test_any_cutting_of_any_spelling_gives_the_same_events(spelled: tuple[bytes, bytes], data: st.DataObject) -> None:
    stream, events = spelled
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    assert split(*pieces) == events
    assert split(*by_bytes(stream)) == events


@given(st.binary(max_size=80), st.integers(0, 80))
def test_garbage_is_cut_to_canonical_events_however_it_arrives(noise: bytes, cut: int) -> None:
    whole = split(noise)
    assert split(noise[:cut], noise[cut:]) == whole == split(*by_bytes(noise))
    assert split(whole) == whole
    assert all(event.startswith(b"data: ") and b"\r" not in event for event in whole.split(b"\n\n")[:-1])


@given(st.lists(payloads.filter(lambda payload: b"\n" not in payload), min_size=1, max_size=5))
def test_canonical_events_pass_as_the_object_they_came_as(found: list[bytes]) -> None:
    data = b"".join(b"data: " + payload + b"\n\n" for payload in found)
    block = SSESplitter().feed(data)
    assert block == data
    is_usual = all(payload.startswith(b"{") for payload in found[:-1])
    if is_usual and (found[-1] == b"[DONE]" or found[-1].startswith(b"{")):
        assert block is data


def test_block_is_given_as_soon_as_its_last_byte_is_there() -> None:
    splitter = SSESplitter()
    assert splitter.feed(b"data: 1\n\ndata: 2\n\ndata: 3") == b"data: 1\n\ndata: 2\n\n"
    assert splitter.feed(b"\n") == b""
    assert splitter.feed(b"\n") == b"data: 3\n\n"


def test_lone_carriage_return_ends_an_event_without_waiting_for_more() -> None:
    splitter = SSESplitter()
    assert splitter.feed(b"data: 1\r\r") == b"data: 1\n\n"
    assert splitter.feed(b"\ndata: 2\r\n\r") == b"data: 2\n\n"
    assert splitter.feed(b"\n") == b""
    assert splitter.feed(b"data: 3\n\n") == b"data: 3\n\n"


def test_comments_alone_give_an_empty_block() -> None:
    splitter = SSESplitter()
    assert [splitter.feed(b": keep-alive\n\n") for _ in range(3)] == [b""] * 3
    assert splitter.finish() == b""
    assert not splitter.is_truncated


def test_lines_of_one_event_are_joined_by_a_space() -> None:
    assert split(b'data: {"a":\ndata: 1,\ndata\ndata:"b": 2}\n\n') == b'data: {"a": 1,  "b": 2}\n\n'


@pytest.mark.parametrize(
    "stream", [b"data:\n\n", b"data: \n\n", b"data\n\n", b"data: \ndata:\n\n", b"event: x\n\n", b"\n\n\n"]
)
def test_events_without_data_are_dropped(stream: bytes) -> None:
    assert split(stream) == b""
    assert split(b"data: 1\n\n" + stream + b"data: 2\n\n") == b"data: 1\n\ndata: 2\n\n"


def test_byte_order_mark_counts_only_at_the_start() -> None:
    assert split(b"\xef", b"\xbb\xbfdata: 1\n\n") == b"data: 1\n\n"
    assert split(b"data: 1\n\n", b"\xef\xbb\xbfdata: 2\n\n") == b"data: 1\n\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"error":{"message":"Overloaded"}}', "Overloaded"),
        (b'{"type":"error","error":{"message":"Overloaded"}}', "Overloaded"),
        (b'{"message":"Overloaded"}', "Overloaded"),
        (b'"Overloaded"', "Overloaded"),
        (b"Overloaded", "Overloaded"),
        (b"Overloaded \xff", "Overloaded \N{REPLACEMENT CHARACTER}"),
        (b"", "The provider gave no readable reason."),
        (b"{}", "The provider gave no readable reason."),
        (b"[" * 300 + b"]" * 300, "The provider gave no readable reason."),
    ],
)
def test_event_named_error_is_an_error_in_its_data(data: bytes, message: str) -> None:
    block = split(b"event: error\ndata: " + data + b"\n\n")
    payload = block.removeprefix(b"data: ").removesuffix(b"\n\n")
    assert orjson.loads(payload)["error"]
    assert read_error(payload).message == message


def test_name_of_an_event_ends_with_it() -> None:
    assert split(b"event: error\n\ndata: 1\n\n") == b"data: 1\n\n"
    assert split(b"event: error\nevent: message\ndata: 1\n\n") == b"data: 1\n\n"


@pytest.mark.parametrize(
    "rest", [b"data: [DONE]", b"data: [DONE]\n", b'data:{"a":1}', b'data: {"a":1}\r', b'data: {"a":\ndata: 1}']
)
def test_last_event_needs_no_blank_line(rest: bytes) -> None:
    splitter = SSESplitter()
    assert splitter.feed(b"data: 1\n\n" + rest) == b"data: 1\n\n"
    assert splitter.finish().startswith((b"data: [DONE]\n\n", b'data: {"a":'))
    assert not splitter.is_truncated


@pytest.mark.parametrize("rest", [b'data: {"a":', b"data: [DO", b"dat", b'data: {"a":"\n', b"\xef\xbb"])
def test_half_an_event_at_the_end_is_flagged_and_not_given(rest: bytes) -> None:
    splitter = SSESplitter()
    assert splitter.feed(rest) == b""
    assert splitter.finish() == b""
    assert splitter.is_truncated


def test_text_of_an_error_cut_at_the_end_is_still_an_error() -> None:
    assert split(b"event: error\ndata: Overl") == b'data: {"error":"Overl"}\n\n'


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: " + b"x" * 101,
        b": " + b"x" * 101 + b"\n",
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60,
        b"data: 1\n\ndata: " + b"x" * 101 + b"\n\ndata: 2\n\n",
    ],
)
def test_event_over_the_cap_is_refused_however_it_arrives(stream: bytes) -> None:
    with pytest.raises(EventTooLarge, match="100 bytes"):
        split(stream, max_event_bytes=100)
    with pytest.raises(EventTooLarge, match="100 bytes"):
        split(*by_bytes(stream), max_event_bytes=100)


@given(st.integers(1, 120), st.booleans())
def test_cap_holds_for_each_event_not_for_all_of_them(size: int, is_whole: bool) -> None:
    stream = (b"data: " + b"x" * size + b"\n\n") * 20
    pieces = [stream] if is_whole else by_bytes(stream)
    if size + len(b"data: ") > 100:
        with pytest.raises(EventTooLarge):
            split(*pieces, max_event_bytes=100)
    else:
        assert split(*pieces, max_event_bytes=100) == stream


def test_long_line_in_small_pieces_costs_its_length_only() -> None:
    # Quadratic handling of 5 MB in 5,000 pieces would copy 12 GB and run into the test's time limit.
    line = b'data: "' + b"x" * 5_000_000 + b'"\n\n'
    pieces = [line[start : start + 1000] for start in range(0, len(line), 1000)]
    assert split(*pieces, max_event_bytes=6_000_000) == line


def test_event_of_many_short_lines_costs_its_length_only() -> None:
    lines = [b"data:1\n"] * 200_000
    assert split(b"data:[\n", *lines, b"data:]\n", b"\n", max_event_bytes=2_000_000).startswith(b"data: [ 1 1 1 ")
