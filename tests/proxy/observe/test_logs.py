import asyncio
import json
import logging
import os
import re
import threading
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observe.logs import (
    CallLog,
    DirectWriter,
    LineWriter,
    Timestamps,
    choose_format,
    configure_logging,
    describe_exception,
    encode_json,
    encode_text,
)


class Pipe:
    """A pipe and a LineWriter at its writing end."""

    def __init__(self) -> None:
        self.reader, self.fd = os.pipe()
        self.dropped = 0
        self.writer = LineWriter(self.fd, self.drop)

    def drop(self, count: int) -> None:
        self.dropped += count

    def read_to_end(self) -> bytes:
        self.writer.close()
        os.close(self.fd)
        with os.fdopen(self.reader, "rb") as file:
            return file.read()


async def test_lines_of_a_moment_are_written_together_and_in_order() -> None:
    pipe = Pipe()
    log = CallLog(pipe.writer, "json")
    for number in range(3):
        log.write("call", {"number": number}, asyncio.get_running_loop())
    lines = [json.loads(line) for line in pipe.read_to_end().splitlines()]
    assert [(line["event"], line["number"]) for line in lines] == [("call", 0), ("call", 1), ("call", 2)]


def test_a_log_nobody_reads_drops_lines_and_counts_them_but_never_blocks() -> None:
    pipe = Pipe()
    for _ in range(300):
        pipe.writer.write(b"x" * 4096)
    assert pipe.dropped > 0
    read: list[bytes] = []

    def read_all() -> None:
        with os.fdopen(pipe.reader, "rb") as file:
            read.append(file.read())

    reading = threading.Thread(target=read_all)
    reading.start()
    pipe.writer.close()
    os.close(pipe.fd)
    reading.join()
    assert len(read[0]) == 4096 * (300 - pipe.dropped)


def test_a_reader_that_went_away_does_not_end_the_writer() -> None:
    pipe = Pipe()
    os.close(pipe.reader)
    pipe.writer.write(b"into the void\n")
    pipe.writer.write(b"and again\n")
    pipe.writer.close()
    assert pipe.dropped == 0
    os.close(pipe.fd)


@given(st.text())
def test_no_text_can_forge_a_second_line(text: str) -> None:
    fields: dict[str, object] = {"time": "2026-11-21T07:00:00.000+00:00", "event": "call", "request_id": text}
    assert encode_text(fields).count(b"\n") == 1
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert encode_json(fields).count(b"\n") == 1


def test_control_characters_of_a_terminal_are_escaped() -> None:
    line = encode_text({"time": "2026-11-21T07:00:00", "event": "call", "model": "a\x1b[31m\x9b"})
    assert line == b"07:00:00 call model=a\\x1b[31m\\x9b\n"


def test_an_exception_is_described_by_its_place_and_never_by_its_text() -> None:
    try:
        raise ValueError("sk-secret and a prompt")
    except ValueError as error:
        text = describe_exception(error)
    assert "ValueError at test_logs.py:" in text
    assert "secret" not in text


def test_events_of_the_standard_library_reach_the_same_log() -> None:
    pipe = Pipe()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        configure_logging(pipe.writer, "json")
        logging.getLogger("proxy.app").info("config %s is in force", "abc")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(line) for line in pipe.read_to_end().splitlines()]
    assert [line["message"] for line in lines] == ["config abc is in force"]


@pytest.mark.parametrize(("wanted", "chosen"), [("json", "json"), ("text", "text")])
def test_a_chosen_format_is_kept(wanted: str, chosen: str) -> None:
    assert choose_format(wanted) == chosen  # type: ignore[arg-type]  # parametrised over the literals


def test_timestamps_are_utc_with_milliseconds_and_never_run_backwards() -> None:
    clock = Timestamps()
    first, second = clock.now(), clock.now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first)
    assert abs(datetime.fromisoformat(first).timestamp() - time.time()) < 5
    assert first <= second


def test_a_direct_writer_writes_at_once_and_gives_up_what_nobody_takes() -> None:
    reader, fd = os.pipe()
    writer = DirectWriter(fd)
    writer.write(b"a line\n")
    assert os.read(reader, 100) == b"a line\n"
    for _ in range(100):
        writer.write(b"x" * 10_000)  # more than a pipe holds: it comes back all the same
    assert os.read(reader, 1_000_000).endswith(b"x")
    os.close(reader)
    writer.write(b"nobody reads any more\n")  # neither of these raises
    os.close(fd)
    writer.write(b"nor writes\n")
