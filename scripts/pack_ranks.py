"""Packs a rank file of tiktoken's (`cl100k_base.tiktoken`) into what `proxy/accounting/ranks/` holds.

    .venv/bin/python scripts/pack_ranks.py FOLDER

takes the raw files from FOLDER, refuses any that is not the one OpenAI published, writes the packed ones, and prints
the SHA-256 of each, which `proxy/accounting/tokens.py` names. The same raw file gives the same packed file, byte for
byte, with the same version of liblzma.
"""

from __future__ import annotations

import base64
import lzma
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

#: The raw files' SHA-256, as tiktoken itself pins them (tiktoken_ext/openai_public.py).
PUBLISHED: Final = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
RANKS: Final = Path(__file__).resolve().parents[1] / "proxy" / "accounting" / "ranks"


def pack(raw: bytes) -> bytes:
    """Each token after a byte with its length, in the order of rank, under xz. Raises ValueError if a rank is missing
    or a token is longer than 255 bytes.
    """
    packed = bytearray()
    for rank, line in enumerate(raw.splitlines()):
        token, number = line.split()
        if int(number) != rank:
            raise ValueError(f"rank {rank} is missing: line {rank + 1} has rank {int(number)}")
        data = base64.b64decode(token)
        packed += bytes([len(data)]) + data
    return lzma.compress(bytes(packed), preset=9 | lzma.PRESET_EXTREME)


def main(folder: Path, target: Path) -> int:
    """Pack every encoding from one folder into the other; the exit code."""
    for name, published in PUBLISHED.items():
        raw = (folder / f"{name}.tiktoken").read_bytes()
        if sha256(raw).hexdigest() != published:
            print(f"{name}.tiktoken is not the file that OpenAI published", file=sys.stderr)  # noqa: T201  # a command
            return 1
        packed = pack(raw)
        (target / f"{name}.xz").write_bytes(packed)
        print(name, len(packed), sha256(packed).hexdigest())  # noqa: T201  # a command
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), RANKS))
