"""`waystation backup FILE`: a copy of the books as they stand, keys, grants and audit too, while they are in use."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from proxy.cli.books import NoBooks, NoFile, books_file, read_config
from proxy.cli.check import print_faults
from proxy.config import ConfigFaults, default_config_path
from proxy.state import StateFailed, StateUnusable, backup_books


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "backup", help="copy the books to a file", description="Copy the books to a new file, while they are in use."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy; it must not be there yet")
    parser.add_argument("--config", type=Path, metavar="FILE", help="whose books (default: the embedded demo's)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Copy, check the copy, and say so; 0 if it is whole, 1 if there is none, 2 if there is no file to copy."""
    try:
        backup_books(books_file(read_config(args.config)), args.file)
    except ConfigFaults as error:
        print_faults(args.config or default_config_path(), error, as_json=False)
        return 1
    except NoFile as error:
        print(
            f"backup: {error}. Redis makes its own backups: BGSAVE writes a snapshot, appendonly keeps a log; "
            "see Redis persistence in its manual.",
            file=sys.stderr,
        )
        return 2
    except (NoBooks, StateFailed, StateUnusable) as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    print(f"{args.file} is a whole copy, {args.file.stat().st_size:,} bytes.")
    return 0
