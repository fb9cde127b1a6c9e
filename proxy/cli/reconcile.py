"""`waystation reconcile`: does a provider charge what the gateway booked? Compares an export of the provider's costs
with the books, by credential and day of UTC; asks nobody.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.accounting.provider_export import BadExport, Export, read_openai_costs
from proxy.accounting.reconcile import Match, Reconciliation, reconcile
from proxy.accounting.usd import decimals_for, exact_usd, short_usd
from proxy.cli.books import NoBooks, open_books, read_config
from proxy.cli.cells import name_cell, table_of
from proxy.cli.check import print_faults
from proxy.config import Config, ConfigFaults, default_config_path, suggest
from proxy.state import Charged, LedgerReports, StateFailed

_TEXT: Final = """
Compare an export of a provider's costs with the books: OpenAI's, from the cost view of its usage dashboard, by day and
grouped by API key. Exit code 1 if a day differs by more than one percent or a tenth of a cent; misuse 2.
"""
_PIPED_WIDTH: Final = 80
_DAY_MS: Final = 86_400_000
_VERDICTS: Final = {
    "agrees": "agrees",
    "differs": "differs",
    "provider_only": "provider only",
    "gateway_only": "gateway only",
}


class _Misuse(Exception):
    pass


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("reconcile", help="compare the books with a provider's costs", description=_TEXT)
    parser.add_argument("export", type=Path, metavar="EXPORT.csv", help="what the provider's console exported")
    parser.add_argument("--provider", required=True, help="as the config names it")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the config (default: the embedded one)")
    text = "which credential of ours a key of the provider's is; may be given several times"
    parser.add_argument("--key", action="append", default=[], metavar="KEY_ID=CREDENTIAL", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print; 0 if all days agree, 1 if not or if something can't be read, 2 on misuse."""
    path: Path = args.config or default_config_path()
    try:
        config = read_config(args.config)
        names = _names(args.key)
        _check_provider(args.provider, config)
        export = _read(args.export)
        books = open_books(config)
        charged = _booked(books, args.provider, export)
        _check_credentials(names, len(config.providers[args.provider].credentials), charged)
        found = reconcile(export, charged, names)
    except ConfigFaults as error:
        print_faults(path, error, as_json=args.json)
        return 1
    except _Misuse as error:
        print(f"reconcile: {error}", file=sys.stderr)
        return 2
    except (BadExport, NoBooks, StateFailed) as error:
        print(f"reconcile: {error}", file=sys.stderr)
        return 1
    forgotten = _forgotten(books, export)
    if args.json:
        print(json.dumps(_as_json(args.provider, found, forgotten), indent=2))
    else:
        _print(args.provider, found, forgotten)
    return 0 if found.agrees else 1


def _names(pairs: Sequence[str]) -> Mapping[str, str]:
    names = {}
    for pair in pairs:
        key_id, equals, credential = pair.partition("=")
        if not (key_id and equals and credential):
            raise _Misuse("--key: expected KEY_ID=CREDENTIAL, such as key_abc=k1")
        names[key_id] = credential
    return names


def _check_provider(provider: str, config: Config) -> None:
    if provider not in config.providers:
        hint = suggest(provider, config.providers)
        raise _Misuse(f"--provider: the config has no such provider{f' ({hint})' if hint else ''}")


def _check_credentials(names: Mapping[str, str], count: int, charged: Sequence[Charged]) -> None:
    known = {f"k{place}" for place in range(1, count + 1)} | {one.credential_id for one in charged}
    for credential in names.values():
        if credential not in known:
            hint = suggest(credential, sorted(known))
            raise _Misuse(f"--key: the provider has no such credential{f' ({hint})' if hint else ''}")


def _read(path: Path) -> Export:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return read_openai_costs(file)
    except OSError as error:
        raise _Misuse(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadExport(f"{path} is not UTF-8") from error


def _booked(books: LedgerReports, provider: str, export: Export) -> Sequence[Charged]:
    if not export.days:
        return ()
    first, last = (_begin_ms(pick(export.days)) for pick in (min, max))
    return books.charged(provider, first, last + _DAY_MS)


def _begin_ms(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _forgotten(books: LedgerReports, export: Export) -> str:
    """What of the export the books can't tell any more."""
    extent = books.extent()
    if extent.calls_from <= extent.first_day or not export.days or min(export.days) > extent.calls_from:
        return ""
    first = date.fromisoformat(extent.calls_from)
    return f"Single calls from before {first} are forgotten, and that day may be incomplete."


def _as_json(provider: str, found: Reconciliation, forgotten: str) -> Mapping[str, object]:
    return {
        "provider": provider,
        "agrees": found.agrees,
        "by_credential": found.is_by_credential,
        "unnamed_keys": list(found.unnamed),
        "incomplete": forgotten or None,
        "days": [_match_json(match) for match in found.matches],
    }


def _match_json(match: Match) -> Mapping[str, object]:
    return {
        "day": match.day,
        "credential": match.credential or None,
        "verdict": match.verdict,
        "attempts": match.attempts,
        "provider_usd": exact_usd(match.provider_nusd),
        "gateway_usd": exact_usd(match.booked_nusd),
        "gateway_low_usd": exact_usd(match.low_nusd),
        "gateway_high_usd": exact_usd(match.high_nusd),
        "matched_usd": exact_usd(match.matched_nusd),
        "provider_only_usd": exact_usd(match.provider_only_nusd),
        "gateway_only_usd": exact_usd(match.gateway_only_nusd),
    }


def _print(provider: str, found: Reconciliation, forgotten: str) -> None:
    out = sys.stdout
    console = Console(file=out, width=None if out.isatty() else _PIPED_WIDTH, highlight=False, emoji=False)
    by = "by credential and day" if found.is_by_credential else "by day (the export does not tell keys apart)"
    console.print(Text(f"What {provider} charged and what was booked, in USD, {by} (UTC)", "bold"))
    if not found.matches:
        console.print("Nothing was charged and nothing was booked on the days of the export.")
    else:
        console.print(_table(found))
    if found.unnamed:
        keys = ", ".join(name_cell(key).plain for key in found.unnamed)
        console.print(Text(f"Say which credentials these keys are with --key KEY_ID=CREDENTIAL: {keys}"))
    if forgotten:
        console.print(forgotten)


def _table(found: Reconciliation) -> Table:
    decimals = max(4, decimals_for(max(max(match.provider_nusd, match.high_nusd) for match in found.matches)))
    numbers = ("charged", "booked", "matched", "provider\nonly", "gateway\nonly")
    table = table_of(("day", "credential"), numbers, "")
    table.columns[0].no_wrap = True
    for match in found.matches:
        amounts = (match.provider_nusd, match.booked_nusd, match.matched_nusd)
        shown = [short_usd(value, decimals) for value in (*amounts, match.provider_only_nusd, match.gateway_only_nusd)]
        verdict = _VERDICTS[match.verdict]
        if match.high_nusd != match.low_nusd:
            low, high = (short_usd(value, decimals) for value in (match.low_nusd, match.high_nusd))
            verdict += f" ({low} to {high})"
        table.add_row(match.day, name_cell(match.credential), *shown, verdict)
    totals = [
        sum(getattr(match, name) for match in found.matches)
        for name in ("provider_nusd", "booked_nusd", "matched_nusd", "provider_only_nusd", "gateway_only_nusd")
    ]
    table.add_section()
    table.add_row("total", "", *(short_usd(value, decimals) for value in totals), "")
    return table
