import pytest

from benchmarks.chat import chat_call
from benchmarks.lag import large, main, probe, summarise
from tests.benchmarks.listener import answering


def test_a_large_prompt_is_as_large_as_asked_and_changes_nothing_else() -> None:
    call = chat_call("stream", 1)
    large_call = large(call, 100_000)
    assert 99_000 < len(large_call.body) < 101_000
    assert b'"stream":true' in large_call.body
    assert large_call.headers == call.headers


def test_each_look_at_the_loop_is_timed() -> None:
    port = answering(b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}')
    waits_s = probe(port, 0.05, every_s=0.001)
    assert waits_s
    assert all(0 < wait < 5 for wait in waits_s)


def test_an_answer_that_is_none_is_no_measurement() -> None:
    port = answering(b'HTTP/1.1 503 Gone\r\n\r\n{"status":"no"}')
    with pytest.raises(OSError, match="503"):
        probe(port, 0.05)


def test_the_line_gives_the_worst_in_a_thousand() -> None:
    waits_s = [0.001] * 9980 + [0.05] * 20
    assert summarise(waits_s, 12.0, 4) == (
        "4 clients, 12 such calls/s: p50 1.0 ms, p99 1.0, p99.9 50.0; 99.80% within 20 ms"
    )


def test_the_documented_command_prints_a_line_for_each_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.3", "--clients", "1", "2", "--size", "10000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
