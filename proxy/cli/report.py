"""`waystation report`: what was called, what it cost, who pays, how much of each quota is used. Reads the books, also
while a gateway writes them; needs no key.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from time import time
from typing import Final

from proxy.accounting.focus import as_focus, focus_query
from proxy.accounting.periods import Calendar
from proxy.accounting.report_csv import as_csv
from proxy.accounting.report_json import as_json
from proxy.accounting.report_query import (
    GRANULARITIES,
    GROUPS,
    BadQuery,
    Query,
    compared_spans,
    parse_granularity,
    parse_groups,
    parse_span,
)
from proxy.accounting.reports import Report, Reporter
from proxy.cli.books import NoBooks, open_books, read_config
from proxy.cli.check import print_faults
from proxy.cli.report_table import print_report
from proxy.config import ConfigFaults, default_config_path
from proxy.state import StateFailed

_TEXT: Final = """
What was called, what it cost, how sure that is, who pays, and how much of each quota is used, from the books of a
config. Without a period it is this month's. Exit code 1 if the books do not add up, or there are none; misuse 2.
"""
#: So many single calls are checked against their sums by default: 0.15 s.
_CHECKED_CALLS: Final = 100_000
_ALL_CALLS: Final = 10**12


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("report", help="what was called, and what it cost", description=_TEXT)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the config (default: the embedded one)")
    text = f"some of {', '.join(GROUPS)} and tag:KEY, with commas (default: team)"
    parser.add_argument("--group-by", default="team", metavar="NAMES", help=text)
    parser.add_argument("--granularity", choices=GRANULARITIES, help="a line for each (default: one for all)")
    parser.add_argument("--team", help="only this one")
    parser.add_argument("--period", metavar="YYYY-MM", help="a calendar month")
    parser.add_argument("--from", dest="first", metavar="DAY", help="instead of a period: its first day, YYYY-MM-DD")
    parser.add_argument("--to", dest="end", metavar="DAY", help="and the first day after it (default: tomorrow)")
    parser.add_argument("--compare", choices=["previous"], help="with as many days before it")
    formats = ("table", "csv", "json", "focus")
    parser.add_argument("--format", choices=formats, default="table", help="default: table; focus: FOCUS 1.2-style CSV")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--check", action="store_true", help="check every single call against the sums, not the latest")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Report; 0 if all is well, 1 if the config is faulty, there are no books or they do not add up, 2 on misuse."""
    path: Path = args.config or default_config_path()
    try:
        config = read_config(args.config)
        reporter = Reporter(open_books(config), config)
        now_s = time()
        calendar = reporter.calendar
        query = _query(args, reporter, calendar.day(now_s))
        spans = compared_spans(query.span, calendar.day(now_s)) if args.compare else None
        report = reporter.build(query, now_s, _ALL_CALLS if args.check else _CHECKED_CALLS, spans)
    except ConfigFaults as error:
        print_faults(path, error, as_json=args.format == "json")
        return 1
    except BadQuery as error:
        print(f"report: {_option(error.parameter)}: {error.message}", file=sys.stderr)
        return 2
    except (NoBooks, StateFailed) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    _print(report, args.format, calendar)
    return 1 if report.check.state == "drift" else 0


def _query(args: argparse.Namespace, reporter: Reporter, today: date) -> Query:
    """Raises BadQuery, StateFailed."""
    if args.team is not None:
        reporter.check_team(args.team)
    query = Query(
        parse_span(args.period, args.first, args.end, today),
        parse_groups(args.group_by, reporter.config.accounting.tag_keys, args.team),
        parse_granularity(args.granularity),
        args.team,
    )
    return focus_query(query) if args.format == "focus" else query


def _print(report: Report, as_format: str, calendar: Calendar) -> None:
    if as_format == "table":
        print_report(report, sys.stdout)
    elif as_format == "json":
        print(json.dumps(as_json(report), indent=2, ensure_ascii=False))
    else:
        text = as_csv(report) if as_format == "csv" else as_focus(report, calendar)
        sys.stdout.write(text)


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"
