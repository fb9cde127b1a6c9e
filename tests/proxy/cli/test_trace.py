import lzma
from pathlib import Path

import pytest

from proxy.cli.trace import TRACES, load, read_trace

LINES = "# a comment\n0,100,20\n1500,200,30\n"


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.xz"])
def test_a_file_of_ones_own_is_read_packed_or_not(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(lzma.compress(LINES.encode()) if name.endswith(".xz") else LINES.encode())
    first, second = read_trace(str(path))
    assert (first.input_tokens, second.at, second.output_tokens) == (100, 1.5, 30)


def test_what_comes_along_is_read_by_its_name() -> None:
    assert TRACES == ("conv", "code")
    assert read_trace("code") == load("code")
    assert len(read_trace("code")) == 8819


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"1,2\n", "is no trace: line 1: expected ms,input_tokens,output_tokens"),
        ("a.csv", b"# nothing\n", "there is no request in it"),
        ("a.csv", "é".encode(), "is no trace"),
        ("a.csv.xz", LINES.encode(), "is no trace"),
        ("a.csv.xz", lzma.compress(LINES.encode())[:-10], "is no trace"),
        ("a.csv", None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_trace_is_refused_by_name(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_trace(str(path))
    assert str(path) in str(caught.value)
