"""`python -m benchmarks`: measure, print the tables, write results.md."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Final

from benchmarks.client import BadAnswer
from benchmarks.load import CONNECTIONS, find_wrk
from benchmarks.procfs import machine
from benchmarks.report import Setting, report
from benchmarks.servers import CannotStart
from benchmarks.session import Plan, Session
from benchmarks.subjects import FLOOR, SUBJECTS, Subject, find

RESULTS: Final = Path(__file__).with_name("results.md")
_PARTS: Final = ("aiohttp", "httpx", "httpx-aiohttp", "uvicorn", "uvloop", "httptools", "orjson")


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 measured, 1 the floor or the gateway failed."""
    options = _parser().parse_args(arguments)
    if not sys.platform.startswith("linux"):
        print("The benchmarks read /proc and pin processes to cores: they need Linux.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _leave)  # so that the children are ended on the way out
    signal.signal(signal.SIGHUP, _leave)
    plan = make_plan(options)
    try:
        with tempfile.TemporaryDirectory(prefix="waystation-bench-") as directory:
            results = Session(plan, Path(directory)).run()
    except (CannotStart, BadAnswer, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = report(results, _setting(plan, arguments))
    print(text)
    options.output.write_text(text, encoding="utf-8")
    print(f"written to {options.output}", file=sys.stderr)
    return 0


def make_plan(options: argparse.Namespace) -> Plan:
    """From the command line. The floor is always measured: every ratio needs it."""
    chosen = [one for one in SUBJECTS if one.name in options.only] if options.only else list(SUBJECTS)
    if options.quick and not options.only:
        chosen = [one for one in chosen if not one.is_peer]
    subjects = tuple(dict.fromkeys((FLOOR.name, *(one.name for one in chosen))))
    by_name = {one.name: one for one in SUBJECTS}
    runs = options.runs or (3 if options.quick else 5)
    seconds = options.seconds or (1 if options.quick else 5)
    latency_s = 0.25 if options.quick else 1.0
    return Plan(tuple(by_name[name] for name in subjects), runs, seconds, latency_s, starts=2 if options.quick else 5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="What a request costs, direct against through.")
    parser.add_argument("--runs", type=_positive, help="runs to take medians of (default 5)")
    parser.add_argument("--seconds", type=_positive, help="full load for each subject and kind in each run (default 5)")
    parser.add_argument("--quick", action="store_true", help="3 runs of 1 s without peers: a first look, in 40 s")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=[one.name for one in SUBJECTS],
        help="beside the floor: %(choices)s",
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="where the tables go (default benchmarks/results.md)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _setting(plan: Plan, arguments: Sequence[str]) -> Setting:
    wrk = find_wrk()
    load = _first_line([wrk, "--version"]).partition(" [")[0] if wrk else "our own client (wrk is not installed)"
    return Setting(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine(),
        versions=", ".join([*(f"{name} {version(name)}" for name in _PARTS), *_subject_versions(plan)]),
        command=shlex.join(["scripts/bench", *arguments]),
        method=(
            f"{plan.runs} runs in turn, medians; {plan.seconds} s of load by {load} on {CONNECTIONS} connections, "
            f"then {plan.latency_s:g} s on one; server on one core, load and upstream on another"
        ),
    )


def _subject_versions(plan: Plan) -> list[str]:
    found = ((subject, find(subject)) for subject in plan.subjects)
    return [f"{one.name} {_version(one, path)}" for one, path in found if path is not None and one is not FLOOR]


def _version(subject: Subject, executable: Path) -> str:
    if not subject.version:
        return "(version unknown)"
    words = _first_line([str(executable), *subject.version]).split()
    return next((word.strip(",v") for word in words if word.strip(",v")[:1].isdigit()), "(version unknown)")


def _first_line(command: Sequence[str]) -> str:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter((ended.stdout or ended.stderr).strip().splitlines()), "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
