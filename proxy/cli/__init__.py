"""The command `waystation`: one file a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from proxy import __version__
from proxy.cli import backup, check, explain, keys, reconcile, replay, report, serve, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0 fine, 1 faults found, 2 misuse."""
    parser = argparse.ArgumentParser(prog="waystation", description="An OpenAI-compatible gateway.")
    parser.add_argument("--version", action="version", version=f"waystation {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve.register(commands)
    check.register(commands)
    explain.register(commands)
    replay.register(commands)
    simulate.register(commands)
    keys.register(commands)
    backup.register(commands)
    report.register(commands)
    reconcile.register(commands)
    args = parser.parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
