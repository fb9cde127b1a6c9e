"""Recorded traffic for simulations: when requests came and how long they and their answers were. No text.

README.md beside this file says where it comes from and under which licence.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Literal

from routing.simulate.trace import Request, read

TraceName = Literal["conv", "code"]


def load(name: TraceName) -> list[Request]:
    """The conversation trace (19,366 requests in 58 minutes) or the code trace (8,819 in 57)."""
    path = Path(__file__).parent / f"azure_llm_2023_{name}.csv.xz"
    with lzma.open(path, "rt", encoding="ascii") as lines:
        return read(lines)
