"""The traffic that `simulate` plays: recorded traces that come with the package, or a file of one's own.

A trace is CSV without a heading, one request a line: milliseconds since the first request, tokens of the prompt, tokens
of the answer; in the order of time, `#` begins a comment. A name that ends in `.xz` is unpacked. No text is in it.
"""

from __future__ import annotations

import io
import lzma
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, cast, get_args

from routing.simulate.trace import Request, read

TraceName = Literal["conv", "code"]
TRACES: Final[tuple[str, ...]] = get_args(TraceName)


def load(name: TraceName) -> list[Request]:
    """The conversation trace (19,366 requests in 58 minutes) or the code trace (8,819 in 57)."""
    packed = files(__package__).joinpath("traces", f"azure_llm_2023_{name}.csv.xz").read_bytes()
    return read(io.StringIO(lzma.decompress(packed).decode("ascii")))


def read_trace(named: str) -> list[Request]:
    """A trace of the package by its name, or the one in this file. Raises ValueError saying what is wrong."""
    if named in TRACES:
        return load(cast("TraceName", named))
    try:
        content = Path(named).read_bytes()
        text = (lzma.decompress(content) if named.endswith(".xz") else content).decode("ascii")
        requests = read(io.StringIO(text))
    except OSError as error:
        raise ValueError(f"the trace {named} cannot be read: {error.strerror}") from error
    except (ValueError, lzma.LZMAError) as error:
        raise ValueError(f"{named} is no trace: {error}") from error
    if not requests:
        raise ValueError(f"{named} is no trace: there is no request in it")
    return requests
