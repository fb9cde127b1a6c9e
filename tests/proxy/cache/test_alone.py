from __future__ import annotations

import pytest

from proxy.cache.alone import Alone


async def test_a_level_that_nobody_shares_has_nothing_to_do_with_others() -> None:
    level = Alone()
    assert not level.is_fleetwide
    assert level.look("search", b"k", b"f", 0) is None  # type: ignore[func-returns-value]
    assert await level.find_vectors("search", [b"k"]) == {}
    assert not level.teach(b"lesson", lambda: pytest.fail("it was not told"))
