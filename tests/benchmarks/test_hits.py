import pytest

from benchmarks.chat import chat_call
from benchmarks.client import BadAnswer
from benchmarks.hits import latencies, main
from tests.benchmarks.listener import answering


async def asked(answer: bytes) -> list[float]:
    """What is measured of a server that answers all it is asked with this."""
    return await latencies(chat_call("json", answering(answer)), 0.05)


async def test_each_answer_is_timed() -> None:
    took_s = await asked(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    assert len(took_s) > 1
    assert all(0 < one < 5 for one in took_s)


async def test_a_refusal_is_no_hit() -> None:
    with pytest.raises(BadAnswer, match="503"):
        await asked(b"HTTP/1.1 503 Gone\r\ncontent-length: 2\r\n\r\n{}")


def test_the_documented_command_prints_both_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["json", "stream"]
