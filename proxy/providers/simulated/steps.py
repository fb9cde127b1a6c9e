"""A bound on the work one request may cause: schemas come from callers, and some are bombs."""

from __future__ import annotations


class TooComplexError(ValueError):
    """A schema asks for more work than a simulation is worth."""


class Steps:
    """A budget shared by everything that is built for one request."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, count: int = 1) -> None:
        """Spend some. Raises TooComplexError when none are left."""
        self._left -= count
        if self._left < 0:
            raise TooComplexError("it is too complex for a simulated provider")
