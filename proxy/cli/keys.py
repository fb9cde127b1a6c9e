"""`waystation keys`: client keys that are made at run time. Works on the database of the config, whether a gateway runs
on it or not; one that runs heeds a change from its next request on, those that share a Redis within a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from getpass import getuser
from pathlib import Path
from time import time
from typing import Any, Final

from proxy.api import KeyRow, instant, list_keys
from proxy.cli.check import load_config, print_faults
from proxy.cli.columns import columns
from proxy.config import Config, ConfigFaults, default_config_path, is_name, seconds_of, suggest
from proxy.keyring import end_of, new_key
from proxy.state import (
    Author,
    ChangeRefused,
    Registry,
    StateFailed,
    StateUnusable,
    StoredKey,
    open_registry,
    sqlite_path,
)

_MAX_OVERLAP_S: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every one of these commands works with."""

    args: argparse.Namespace
    config: Config
    registry: Registry
    now_s: float

    @property
    def author(self) -> Author:
        return Author(f"cli:{_user()}", round(self.now_s * 1000))

    def is_configured(self) -> bool:
        """Does the named key stand in the config?"""
        team = self.config.teams.get(self.args.team)
        return team is not None and any(key.name == self.args.name for key in team.keys)

    def rows(self) -> Sequence[KeyRow]:
        """Every key, or those of the named team."""
        rows = list_keys(self.config.teams, self.registry, self.now_s)
        return [row for row in rows if self.args.team in (None, row.team)]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    text = (
        "Make, list and end client keys. They are kept in the database of the config, and add to those in the config."
    )
    keys = commands.add_parser("keys", help="make, list and end client keys", description=text)
    actions = keys.add_subparsers(title="commands", required=True, metavar="COMMAND")

    create = _action(actions, "create", _create, "make a key; prints it, this once, on standard output")
    _add_name(create)
    create.add_argument("--expires", type=_day, metavar="DATE", help="the day from which it is no longer good, in UTC")

    listing = _action(actions, "list", _list, "list the keys: those of the config and those of the database")
    listing.add_argument("--team", help="only this team's")

    _add_name(_action(actions, "revoke", _revoke, "end a key at once; one that stands in the config is blocked"))
    _add_name(_action(actions, "unblock", _unblock, "let a blocked key in again"))

    rotate = _action(actions, "rotate", _rotate, "give a key a new secret; the old one ends after the overlap")
    _add_name(rotate)
    rotate.add_argument(
        "--overlap", type=_overlap_s, default="24h", metavar="D", help="such as 7d; 0s ends it at once (default 24h)"
    )


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, act: Callable[[_Desk], int], text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the config (default: the embedded one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run, act=act)
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--team", required=True, type=_name, help="whose it is")
    parser.add_argument("--name", required=True, type=_name, help="what it is called in logs and reports")


def _run(args: argparse.Namespace) -> int:
    """Do it; 0 if it is done, 1 if it can't be."""
    try:
        config = load_config(args.config).config
    except ConfigFaults as error:
        print_faults(args.config or default_config_path(), error, as_json=args.json)
        return 1
    try:
        registry = open_registry(config.state.url, config.state.namespace)
        if registry is None:
            raise ChangeRefused("state.url of the config names no database")
        with closing(registry):
            registry.refresh()
            act: Callable[[_Desk], int] = args.act
            return act(_Desk(args, config, registry, time()))
    except (ChangeRefused, StateFailed, StateUnusable) as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1


def _create(desk: _Desk) -> int:
    args, teams = desk.args, desk.config.teams
    if args.team not in teams:
        raise ChangeRefused(f"the config has no team '{args.team}' ({suggest(args.team, teams) or 'it has none'})")
    if desk.is_configured():
        raise ChangeRefused(f"the config has a key '{args.name}' of this team already: choose another name")
    expires_s = end_of(args.expires)
    if expires_s is not None and expires_s <= desk.now_s:
        raise ChangeRefused("the day of --expires has begun already: choose a later one")
    secret, fingerprint = new_key()
    expires_ms = None if expires_s is None else round(expires_s * 1000)
    key = desk.registry.create_key(args.team, args.name, fingerprint, expires_ms, desk.author)
    _hand_over(desk, secret, key, f"is made for the team '{key.team}'", {})
    return 0


def _rotate(desk: _Desk) -> int:
    args = desk.args
    if desk.is_configured():
        raise ChangeRefused("this key stands in the config: put the new one there, under a name of its own")
    secret, fingerprint = new_key()
    key = desk.registry.rotate_key(args.team, args.name, fingerprint, round(args.overlap * 1000), desk.author)
    ends = instant(key.created_ms + round(args.overlap * 1000))
    _hand_over(desk, secret, key, f"has a new secret; the old one ends at {ends}", {"old_ends": ends})
    return 0


def _hand_over(desk: _Desk, secret: str, key: StoredKey, done: str, more: dict[str, object]) -> None:
    """Print the secret alone on standard output, all else on standard error."""
    if desk.args.json:
        said = {"team": key.team, "name": key.name, "key": secret, "prefix": key.prefix}
        _print_json(said | {"expires": instant(key.expires_ms)} | more)
        return
    until = "" if key.expires_ms is None else f" It expires at {instant(key.expires_ms)}."
    _explain(desk, f"the key '{key.name}' {done}.{until} It is shown this once; only its digest is kept.")
    print(secret)


def _list(desk: _Desk) -> int:
    rows = desk.rows()
    if desk.args.json:
        _print_json({"keys": [row.described() for row in rows]})
        return 0
    head = ("team", "name", "key", "status", "created", "expires", "kept in")
    cells = [
        (
            row.team,
            row.name,
            "–" if row.prefix is None else f"{row.prefix}…",
            row.status,
            instant(row.created_ms) or "–",
            instant(row.expires_ms) or "–",
            "the config" if row.source == "yaml" else "the database",
        )
        for row in rows
    ]
    print("\n".join(columns([head, *cells])))
    return 0


def _revoke(desk: _Desk) -> int:
    args = desk.args
    is_stored = any(row.source == "state" and row.name == args.name for row in desk.rows())
    if not is_stored and not desk.is_configured():
        names = sorted({row.name for row in desk.rows()})
        raise ChangeRefused(
            f"the team '{args.team}' has no key '{args.name}' ({suggest(args.name, names) or 'it has none'})"
        )
    ended = desk.registry.revoke_key(args.team, args.name, desk.author) if is_stored else 0
    if desk.is_configured():
        desk.registry.block_key(args.team, args.name, desk.author)
    if args.json:
        _print_json({"team": args.team, "name": args.name, "revoked": ended, "blocked": desk.is_configured()})
    elif desk.is_configured():
        _explain(desk, f"the key '{args.name}' stands in the config, so it is blocked. Now remove it from the config.")
    elif ended:
        _explain(desk, f"the key '{args.name}' of the team '{args.team}' is revoked.")
    else:
        _explain(desk, f"the key '{args.name}' of the team '{args.team}' was revoked or expired already.")
    return 0


def _unblock(desk: _Desk) -> int:
    args = desk.args
    desk.registry.unblock_key(args.team, args.name, desk.author)
    if args.json:
        _print_json({"team": args.team, "name": args.name, "blocked": False})
    else:
        _explain(desk, f"the key '{args.name}' of the team '{args.team}' is no longer blocked.")
    return 0


def _explain(desk: _Desk, text: str) -> None:
    path = sqlite_path(desk.config.state.url)
    # A URL may have a password in it.
    place = f"Redis, {desk.config.state.namespace}" if path is None else path.absolute()
    print(f"{place}: {text}", file=sys.stderr)


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, indent=2))


def _user() -> str:
    """Who runs the command, for the audit."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):  # a container's user often has no name
        return "unknown"


def _name(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError("expected letters, digits and . _ : / -, at most 128 of them")
    return text


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise argparse.ArgumentTypeError("expected a day such as 2027-01-31") from None


def _overlap_s(text: str) -> float:
    seconds = seconds_of(text)
    if seconds is None or seconds > _MAX_OVERLAP_S:
        raise argparse.ArgumentTypeError("expected 0s to 366d, such as 30m, 24h or 7d")
    return seconds
