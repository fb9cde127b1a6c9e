"""`waystation serve --workers N` over SQLite: each worker has books of its own, in files with its number. No user may
have that, whose quotas would each count apart; what is tested here is how processes come and go.

Run as `python -m tests.prefork N CONFIG`. A file `fail-to-start` beside the config makes workers raise, one called
`cannot-start` lets them find their state unusable.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from proxy.app import State, open_state
from proxy.cli.serve import bind, serve_with_workers
from proxy.cli.source import LastGood, source_of
from proxy.config import Config
from proxy.state import StateUnusable


def open_apart(config: Config, slot: int) -> State:
    """The state of one worker."""
    if Path("fail-to-start").exists():
        raise RuntimeError("told to fail")
    if Path("cannot-start").exists():
        raise StateUnusable("the state is away")
    state = config.state.model_copy(update={"url": f"sqlite:///w-{slot}.db", "journal": f"journal/{slot}"})
    return open_state(config.model_copy(update={"state": state}), slot)


def main() -> int:
    """Serve; gives the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workers", type=int)
    parser.add_argument("config", type=Path)
    args = parser.parse_args()
    source = source_of(args.config)
    good = LastGood(source)
    sockets = bind(good.loaded.config, None)
    return serve_with_workers(source, good, sockets, lambda config: args.workers, open_apart)


if __name__ == "__main__":
    sys.exit(main())
