"""`waystation simulate`: a config tried on recorded traffic before it is live, against the one it would replace. The
very Router that serves calls, over a model of the providers; nobody is asked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from proxy.cli.check import load_config, print_faults
from proxy.cli.latencies import read_measured
from proxy.cli.rehearsal import TOLERANCE, ModelTrial, Rehearsal
from proxy.cli.trace import TRACES, read_trace
from proxy.cli.trial_report import as_json, render
from proxy.config import Config, ConfigFaults, default_config_path
from routing.simulate import Request, span_s

_TEXT = f"""
Try a config on recorded traffic: the gateway's own router over a model of the providers. Each model is given the whole
trace. Nobody is asked, nothing is spent. With --against the exit code is 1 if for any model the new config is worse
than the old one by more than {TOLERANCE.success_points:g} points of success, {TOLERANCE.objective_points:g} point of
calls within slo.ttft, or {TOLERANCE.cost_pct:g} percent of the cost: made for CI. A faulty config is 1 too, misuse 2.
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("simulate", help="try a config before it is live", description=_TEXT)
    parser.add_argument("--config", type=Path, metavar="NEW", help="the config to try (default: the embedded one)")
    parser.add_argument("--against", type=Path, metavar="OLD", help="the config that it would replace")
    parser.add_argument("--model", help="only this one, by its configured name")
    text = "CSV or CSV.xz, a line a request: ms,input_tokens,output_tokens; or conv (default) or code, which come along"
    parser.add_argument("--trace", default=TRACES[0], metavar="FILE", help=text)
    text = "standard: eight faults in turn, each reported by itself; default: none"
    parser.add_argument("--faults", choices=["standard", "none"], default="none", help=text)
    parser.add_argument("--seeds", type=_count, default=1, metavar="N", help="runs to average (default 1)")
    text = "latencies as measured: a saved answer of GET /admin/v1/targets"
    parser.add_argument("--targets", type=Path, metavar="FILE", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate and report; 0 if all is well, 1 on faults of a config or a change for the worse, 2 on misuse."""
    path: Path = args.config or default_config_path()
    try:
        new = load_config(args.config).config
        path = args.against or path
        old = load_config(args.against).config if args.against is not None else None
    except ConfigFaults as error:
        print_faults(path, error, as_json=args.json)
        return 1
    try:
        rehearsal, requests = _prepare(args, new, old)
    except ValueError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    trials = [rehearsal.play(name) for name in ([args.model] if args.model else new.models)]
    dropped = [] if old is None or args.model else [name for name in old.models if name not in new.models]
    if args.json:
        _print_json(args, requests, trials, dropped)
    else:
        print(render(trials, f"{args.trace}: {len(requests)} requests in {span_s(requests) / 60:.1f} min", dropped))
    return 1 if any(trial.objections for trial in trials) else 0


def _prepare(args: argparse.Namespace, new: Config, old: Config | None) -> tuple[Rehearsal, list[Request]]:
    """Raises ValueError for what was misused."""
    if args.model is not None and args.model not in new.models:
        raise ValueError(f"the config has no model '{args.model}' (known: {', '.join(new.models)})")
    requests = read_trace(args.trace)
    measured = read_measured(args.targets) if args.targets is not None else {}
    seeds = range(1, args.seeds + 1)
    return Rehearsal(new, old, requests, measured, seeds, has_faults=args.faults == "standard"), requests


def _print_json(
    args: argparse.Namespace, requests: Sequence[Request], trials: Sequence[ModelTrial], dropped: Sequence[str]
) -> None:
    report = {
        "config": str(args.config or default_config_path()),
        "against": None if args.against is None else str(args.against),
        "trace": args.trace,
        "requests": len(requests),
        "span_s": span_s(requests),
        "seeds": args.seeds,
        "faults": args.faults,
        "tolerance": asdict(TOLERANCE),
        "dropped_models": list(dropped),
        **as_json(trials),
    }
    print(json.dumps(report, indent=2))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("expected a whole number above 0")
    return int(text)
