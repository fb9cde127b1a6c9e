from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_collection_while_parsing() -> Iterator[None]:
    """Python 3.11 counts the depth of all its parsers in one place: a finaliser that parses too, run by the collector
    in the middle of `ast.parse`, makes it raise SystemError.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()
