"""The catalogue of upstream faults, by where they strike. Each is played in `test_fault_matrix.py`."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from tests.fakes import completion, error_body, sse_chunks, sse_event
from tests.integration.fault import (
    CUT,
    DOWN,
    FAILED,
    FINE,
    LATE,
    LIMITED,
    MISCONFIGURED,
    NO_ANSWER,
    REJECTED,
    SPENT,
    STALLED,
    UNAUTHORISED,
    UNPAID,
    Fault,
    Seen,
    Unreachable,
)
from tests.integration.sse import DONE
from tests.upstream import (
    BROKEN,
    SSE_HEAD,
    Behaviour,
    End,
    chunk,
    drip_comments,
    hang,
    hang_after_head,
    head,
    play,
    redirect,
    refuse_early,
    reply,
    reply_gzip,
    reply_html,
    reply_json,
    stream,
)

_JSON: Final = ("Content-Type", "application/json")
_SSE: Final = ("Content-Type", "text/event-stream")
_GZIP: Final = ("Content-Encoding", "gzip")
_CLOSE: Final = ("Connection", "close")
_CHUNKED: Final = head(200, _JSON, ("Transfer-Encoding", "chunked"))
_HINT: Final = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

_ANSWER: Final = json.dumps(completion("one two")).encode()
_HALF: Final = _ANSWER[:40]
_SIZED: Final = head(200, _JSON, ("Content-Length", str(len(_ANSWER))))
_EVENTS: Final = b"".join(sse_chunks("one ", "two", finish=None, done=False))
_BEGUN: Final = SSE_HEAD + chunk(_EVENTS)
_STREAM: Final = SSE_HEAD + chunk(b"".join(sse_chunks("one ", "two"))) + chunk(b"")


def _json(body: bytes) -> Behaviour:
    """A 200 that says it is JSON."""
    return reply(body, 200, _JSON)


def _choices(choices: object) -> Behaviour:
    return reply_json({**completion("x"), "choices": choices})


def _first(event: bytes) -> Behaviour:
    """A stream that begins with this, and then stays open."""
    return play(SSE_HEAD + chunk(event), end=End.HANG)


def _events(data: bytes) -> Behaviour:
    """A stream that ends as streams do."""
    return play(SSE_HEAD + (chunk(data) if data else b"") + chunk(b""))


def _then(event: bytes) -> Behaviour:
    """A stream that has begun well, then says this, and stays open."""
    return play(_BEGUN, 0.1, chunk(event), end=End.HANG)


def _status(
    name: str, seen: Seen, *headers: tuple[str, str], code: str | None = None, type: str | None = None
) -> Fault:
    """A refusal of the status that the name begins with, in OpenAI's envelope."""
    error = {"message": "No.", "type": type, "code": code, "param": None}
    return Fault(name, reply_json({"error": error}, int(name[:3]), *headers), seen)


def _rejected(status: int, code: str | None = None) -> Seen:
    return replace(REJECTED, status=status, code=code)


def _limited(least_s: int, most_s: int, *, is_repeated: bool = False) -> Seen:
    return replace(LIMITED, retry_after_s=(least_s, most_s), is_repeated=is_repeated)


def _date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def _error(type: str, code: str | None = None) -> dict[str, Any]:
    return error_body("Boom.", type, code)


def _inside(name: str, error: dict[str, Any], seen: Seen) -> Fault:
    """A 200 that is an error, or a stream that begins with it."""
    return Fault(name, reply_json(error), seen, _first(sse_event(error)))


_BOOM: Final = sse_event(_error("server_error"))
_NO_CHOICES: Final = sse_event({"choices": []})

CONNECTIONS: Final = (
    Fault("refused connection", Unreachable.REFUSED, DOWN),
    Fault("DNS failure", Unreachable.UNRESOLVABLE, DOWN),
    Fault("SYN blackhole", Unreachable.BLACKHOLE, LATE),
    Fault("TLS never answers", Unreachable.MUTE, LATE),
    Fault("bad certificate", Unreachable.UNTRUSTED, DOWN),
)

HEADS: Final = (
    Fault("close before headers", BROKEN["close before headers"], FAILED),
    Fault("reset before headers", BROKEN["reset before headers"], FAILED),
    Fault("close in the headers", BROKEN["half the headers"], FAILED),
    Fault("garbage", BROKEN["garbage"], FAILED),
    Fault("header of 2 MB", BROKEN["huge header"], FAILED),
    Fault("content-length and chunked", BROKEN["two framings"], FAILED),
    Fault("101", play(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n", end=End.HANG), FAILED),
    Fault("204 with a body", play(head(204) + _ANSWER, end=End.HANG), FAILED),
    Fault("20,000 early hints", play(_HINT * 20_000 + _SIZED + _ANSWER, end=End.HANG), FAILED),
    Fault("three early hints", play(_HINT * 3 + _SIZED + _ANSWER), FINE, play(_HINT * 3 + _STREAM)),
)

SILENCE: Final = (
    Fault("stall before headers", hang(), SPENT, None, LATE),
    Fault("stall in the headers", play(b"HTTP/1.1 200 OK\r\nContent-Ty", end=End.HANG), SPENT, None, LATE),
    Fault("stall after headers", hang_after_head(), SPENT, None, LATE),
    Fault("stall mid-body", play(_SIZED + _HALF, end=End.HANG), LATE, play(_BEGUN, end=End.HANG), STALLED),
    Fault("comments only, for ever", drip_comments(), SPENT, None, LATE),
    Fault(
        "comments for ever, mid-stream",
        Behaviour((_CHUNKED,), forever=(chunk(b" "), 0.02)),
        SPENT,
        Behaviour((_BEGUN,), forever=(chunk(b": still here\n\n"), 0.02)),
        STALLED,
    ),
)

BODIES: Final = (
    Fault("reset mid-body", BROKEN["reset in the body"], FAILED, play(_BEGUN, 0.1, end=End.RESET), CUT),
    Fault(
        "short content-length",
        BROKEN["body too short"],
        FAILED,
        play(head(200, _SSE, ("Content-Length", "9999")) + _EVENTS, end=End.CLOSE),
        CUT,
    ),
    Fault(
        "cut in a chunk",
        play(_CHUNKED + b"40\r\n" + _HALF[:20], end=End.CLOSE),
        FAILED,
        play(_BEGUN + b"40\r\ndata: {", end=End.CLOSE),
        CUT,
    ),
    Fault("cut in the first chunk", BROKEN["cut in a chunk"], FAILED),
    Fault("cut between chunks", play(_CHUNKED + chunk(_HALF), end=End.CLOSE), FAILED, play(_BEGUN, end=End.CLOSE), CUT),
    Fault("chunk size that is no number", BROKEN["chunk size is no number"], FAILED),
    Fault(
        "chunked end in the middle",
        play(_CHUNKED + chunk(_HALF) + chunk(b"")),
        NO_ANSWER,
        play(_BEGUN + chunk(b"")),
        CUT,
    ),
    Fault(
        "length-less close in the middle",
        play(head(200, _JSON, _CLOSE) + _HALF, end=End.CLOSE),
        NO_ANSWER,
        play(head(200, _SSE, _CLOSE) + _EVENTS, end=End.CLOSE),
        CUT,
    ),
    Fault(
        "length-less close at the end",
        play(head(200, _JSON, _CLOSE) + _ANSWER, end=End.CLOSE),
        FINE,
        play(head(200, _SSE, _CLOSE) + b"".join(sse_chunks("one ", "two", done=False)), end=End.CLOSE),
    ),
    Fault("bad gzip", reply(b"not gzip", 200, _JSON, _GZIP), FAILED),
    Fault("gzip", reply_gzip(completion("x")), FAILED),
    Fault("truncated gzip", reply(gzip.compress(_ANSWER)[:60], 200, _JSON, _GZIP), FAILED),
    Fault("zstd", reply(b"(\xb5/\xfd\x00", 200, _JSON, ("Content-Encoding", "zstd")), FAILED),
    # Its connection looks unhurt, but is never used again: see test_upstream_connections.py.
    Fault("bytes after the response", play(_SIZED + _ANSWER + b"HTTP/1.1 200"), FINE, play(_STREAM + b"HTTP/1.1 200")),
    Fault(
        "body without end",
        Behaviour((_CHUNKED, chunk(b'{"x": "')), forever=(chunk(b"a" * 1_000_000), 0.0)),
        NO_ANSWER,
        Behaviour((SSE_HEAD, chunk(b'data: {"x": "')), forever=(chunk(b"a" * 1_000_000), 0.0)),
    ),
)

STATUSES: Final = (
    Fault("302", redirect("http://127.0.0.1:1/v1/chat/completions"), MISCONFIGURED),
    _status("400", _rejected(400)),
    _status("400 context_length_exceeded", _rejected(400, "context_length_exceeded"), code="context_length_exceeded"),
    _status("400 content_filter", _rejected(400, "content_filter"), code="content_filter"),
    _status("400 unknown model", MISCONFIGURED, code="model_not_found"),
    _status("401", UNAUTHORISED),
    _status("402", UNPAID),
    _status("403", UNAUTHORISED),
    _status("404", MISCONFIGURED, code="model_not_found"),
    Fault("404 that is HTML", reply_html(404), MISCONFIGURED),
    _status("408", LATE),
    _status("409", FAILED),
    _status("413", _rejected(413)),
    _status("422", _rejected(422)),
    _status("429", LIMITED),
    _status("429 in 7 s", _limited(7, 7), ("Retry-After", "7")),
    _status("429 in 1.5 s", _limited(2, 2, is_repeated=True), ("Retry-After-Ms", "1500"), ("Retry-After", "60")),
    _status("429 until a date", _limited(1, 3000), ("Retry-After", _date(3000))),
    _status("429 in a year", _limited(3600, 3600), ("Retry-After", "31536000")),
    _status("429 insufficient_quota", UNPAID, code="insufficient_quota"),
    Fault(
        "429 while we still send 5 MB",
        refuse_early(429, json.dumps(_error("requests", "rate_limit_exceeded")).encode()),
        replace(LIMITED, type="requests"),
        prompt="x" * 5_000_000,
    ),
    _status("500", FAILED),
    _status("500 in 5 s", replace(NO_ANSWER, retry_after_s=(5, 5)), ("Retry-After", "5")),
    Fault("502 that is HTML", reply_html(502), FAILED),
    _status("503", DOWN),
    _status("503 in 20 s", replace(DOWN, is_repeated=False, retry_after_s=(20, 20)), ("Retry-After", "20")),
    _status("504", LATE),
    Fault("529", play(b"HTTP/1.1 529 Overloaded\r\nContent-Length: 2\r\n\r\n{}"), DOWN),
)

NO_ANSWERS: Final = (
    Fault("HTML", reply_html(), NO_ANSWER),
    Fault("HTML as events", _json(b"<!doctype html>"), NO_ANSWER, _first(b"<!doctype html>\n\ndata: <p>\n\n")),
    Fault("malformed JSON", _json(b'{"choices": [{'), NO_ANSWER, _first(b"data: {oops\n\n")),
    Fault("NaN", _json(b'{"choices": NaN}'), NO_ANSWER, _first(b'data: {"choices": NaN}\n\n')),
    Fault("invalid UTF-8", _json(b'{"x": "\xff"}'), NO_ANSWER, _first(b'data: {"x": "\xff"}\n\n')),
    Fault("deep nesting", _json(b"[" * 100_000), NO_ANSWER, _first(b"data: " + b"[" * 100_000 + b"\n\n")),
    Fault("null", _json(b"null"), NO_ANSWER, _first(b"data: null\n\n")),
    Fault("array", _json(b"[1]"), NO_ANSWER, _first(b"data: [1]\n\n")),
    Fault("nothing at all", _json(b""), NO_ANSWER, _events(b""), FAILED),
    Fault("empty object", _json(b"{}"), NO_ANSWER, _events(b"data: {}\n\n"), FAILED),
    Fault("empty choices", _choices([]), NO_ANSWER, _events(_NO_CHOICES), FAILED),
    Fault("empty choices, [DONE]", _choices({}), NO_ANSWER, _events(_NO_CHOICES + DONE), FAILED),
    Fault("null choices", _choices(None), NO_ANSWER, _events(DONE), FAILED),
    Fault("choice without message", _choices([{"index": 0}]), NO_ANSWER, _first(sse_event({"choices": [7]}))),
    Fault("a stream for JSON, JSON for a stream", play(_STREAM), NO_ANSWER, play(_SIZED + _ANSWER)),
)

ERRORS_IN_A_200: Final = (
    _inside("error object first", _error("server_error"), FAILED),
    _inside("overload first", _error("overloaded_error"), DOWN),
    _inside("overload first, in Anthropic's words", {"type": "error", **_error("overloaded_error")}, DOWN),
    _inside("rate limit first", _error("rate_limit_error", "rate_limit_exceeded"), LIMITED),
    _inside("refused credential first", _error("authentication_error"), UNAUTHORISED),
    _inside("bad request first", _error("invalid_request_error", "bad_schema"), _rejected(400, "bad_schema")),
    Fault("plain error for a stream", reply_json(_error("overloaded_error")), DOWN),
    Fault(
        "error event first", reply_json({"detail": "x"}), FAILED, _first(b'event: error\ndata: {"message": "x"}\n\n')
    ),
    Fault("error after empty choices", _choices([]), NO_ANSWER, _first(_NO_CHOICES + _BOOM), FAILED),
    Fault("error object mid-stream", reply_json({**completion("x"), **_error("x")}), FAILED, _then(_BOOM), CUT),
    Fault("error object, then [DONE]", reply_json({**_error("x"), "choices": []}), FAILED, _then(_BOOM + DONE), CUT),
    Fault(
        "error event mid-stream", reply_json({"error": "x"}), FAILED, _then(b'event: error\ndata: {"x": 1}\n\n'), CUT
    ),
    Fault("HTML mid-stream", _json(_HALF + b"<html>"), NO_ANSWER, _then(b"data: <html>\n\n"), CUT),
    Fault("array mid-stream", _json(b"[[]]"), NO_ANSWER, _then(b"data: [1]\n\n"), CUT),
    Fault("half an event at the end", _json(_HALF), NO_ANSWER, _events(_EVENTS + b'data: {"choices": [{"ind'), CUT),
)

_LONG: Final = "x" * 5_000_000

NO_FAULTS: Final = (
    Fault(
        "finish_reason content_filter",
        reply_json(completion("one two", finish="content_filter")),
        FINE,
        stream(sse_chunks("one ", "two", finish="content_filter")),
    ),
    Fault("line of 5 MB", reply_json(completion(_LONG)), replace(FINE, text=_LONG), stream(sse_chunks(_LONG))),
)

CATALOGUE: Final = (*CONNECTIONS, *HEADS, *SILENCE, *BODIES, *STATUSES, *NO_ANSWERS, *ERRORS_IN_A_200, *NO_FAULTS)
