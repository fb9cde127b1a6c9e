"""`waystation check`: would this config be taken? Prints every fault and warning with its place; changes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import time

from proxy.accounting import PriceBook, PriceTable
from proxy.config import ConfigFaults, Fault, Loaded, default_config_path, environment, json_schema, load, load_default

#: Stands for the client key that `serve` would make up for the embedded default.
_ANY_KEY = "any-client-key-made-up-by-serve"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("check", help="verify a config", description="Verify a config; exit code 1 on faults.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the config (default: the embedded one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the config and stop")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check and report; 0 if the config holds, 1 if not."""
    if args.schema:
        print(json.dumps(json_schema(), indent=2))
        return 0
    path: Path = args.config or default_config_path()
    try:
        loaded = load_config(args.config)
    except ConfigFaults as error:
        print_faults(path, error, as_json=args.json)
        return 1
    if args.json:
        _print_json(path, (), loaded.warnings, loaded)
    else:
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"{path}: {_summary(loaded)}")
    return 0


def load_config(path: Path | None) -> Loaded:
    """The config in a file, or the embedded one. Raises ConfigFaults."""
    environ = environment()
    has_price = partial(PriceTable().knows, at=datetime.now(UTC))
    if path is None:
        return load_default({**environ, "WAYSTATION_KEY": environ.get("WAYSTATION_KEY") or _ANY_KEY}, has_price)
    return load(path, environ, has_price=has_price)


def print_faults(path: Path, error: ConfigFaults, *, as_json: bool) -> None:
    """All that is wrong with a config: JSON on standard output, or lines on standard error."""
    if as_json:
        _print_json(path, error.faults, (), None)
        return
    print(error, file=sys.stderr)
    print(f"{path}: {_count(len(error.faults), 'fault')}", file=sys.stderr)


def _summary(loaded: Loaded) -> str:
    config = loaded.config
    parts = [
        _count(len(config.providers), "provider"),
        _count(len(config.models), "model"),
        _count(len(config.teams), "team"),
        _count(len(loaded.warnings), "warning"),
    ]
    return f"holds: {', '.join(parts)}; hash {loaded.config_hash}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_json(path: Path, faults: Sequence[Fault], warnings: Sequence[Fault], loaded: Loaded | None) -> None:
    report = {
        "file": str(path),
        "ok": loaded is not None,
        "config_hash": None if loaded is None else loaded.config_hash,
        "faults": [asdict(fault) for fault in faults],
        "warnings": [asdict(fault) for fault in warnings],
        "prices": [] if loaded is None else list(_prices(loaded)),
    }
    print(json.dumps(report, indent=2))


def _prices(loaded: Loaded) -> Iterator[Mapping[str, object]]:
    """What each target costs today, and who says so; null where nobody does."""
    now_s = time()
    book = PriceBook(loaded.config, PriceTable(), now_s)
    for model, target in book:
        tariff = book.tariff(model, target, now_s)
        prices = None if tariff is None else tariff.prices
        yield {
            "model": model,
            "target": target,
            "source": None if prices is None else prices.source,
            "version": None if prices is None else prices.version,
            "usd_per_mtok": None if prices is None else {k: float(v) for k, v in asdict(prices.rates).items()},
        }
