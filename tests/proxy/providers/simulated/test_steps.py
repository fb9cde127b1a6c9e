"""The bound on work."""

from __future__ import annotations

import pytest

from proxy.providers.simulated.steps import Steps, TooComplexError


def test_the_budget_is_spent_once() -> None:
    steps = Steps(3)
    steps.take()
    steps.take(2)
    with pytest.raises(TooComplexError):
        steps.take()
