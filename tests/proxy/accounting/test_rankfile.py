import base64
import lzma
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.accounting.rankfile import RANKS, BadRankFile, read_ranks, unpack
from scripts.pack_ranks import PUBLISHED, main, pack

RAW = b"".join(b"%b %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate([b"!", b"\x80", b"the" * 85]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_shipped_ranks_are_the_published_ones(name: str) -> None:
    ranks = unpack(lzma.decompress((RANKS / f"{name}.xz").read_bytes()))
    lines = (b"%b %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items())
    assert sha256(b"".join(lines)).hexdigest() == PUBLISHED[name]


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    packed = pack(RAW)
    (tmp_path / "x.xz").write_bytes(packed)
    assert packed == pack(RAW)
    assert read_ranks(tmp_path / "x.xz", sha256(packed).hexdigest()) == {b"!": 0, b"\x80": 1, b"the" * 85: 2}


def test_a_gap_in_the_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 1 is missing"):
        pack(b"IQ== 0\nIg== 2\n")


def test_a_raw_file_that_openai_did_not_publish_is_not_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cl100k_base.tiktoken").write_bytes(RAW)
    assert main(tmp_path, tmp_path) == 1
    assert "cl100k_base.tiktoken" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.xz"))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadRankFile, match=r"gone\.xz cannot be read .* install this package again"):
        read_ranks(tmp_path / "gone.xz", "0" * 64)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:9] + b"?" + data[10:], lambda data: b""])
def test_a_damaged_file_is_not_unpacked(tmp_path: Path, damage: object) -> None:
    packed = pack(RAW)
    (tmp_path / "x.xz").write_bytes(damage(packed))  # type: ignore[operator]  # a parameter
    with pytest.raises(BadRankFile, match="damaged: its SHA-256 is"):
        read_ranks(tmp_path / "x.xz", sha256(packed).hexdigest())
