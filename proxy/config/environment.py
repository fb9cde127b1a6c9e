"""The environment variables. The one file that reads them."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """A copy of the process's environment."""
    return dict(os.environ)
