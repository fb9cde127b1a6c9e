"""`waystation explain`: where a call would go just now, and why. Asks the running gateway at its admin address; no
provider is called.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

_TIMEOUT_S = 10.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    text = "Ask a running gateway where a call would go. Needs an admin key (admin.keys) in WAYSTATION_ADMIN_KEY."
    parser = commands.add_parser("explain", help="where a call would go, and why", description=text)
    parser.add_argument("--model", required=True, help="as clients name it")
    parser.add_argument("--tokens", type=int, help="of input (default 1000)")
    parser.add_argument("--max-tokens", type=int, help="the call's own cap on its output")
    parser.add_argument("--needs", help="what it asks for beyond text, such as tools,vision")
    parser.add_argument("--team", help="say whether this team may use the model")
    parser.add_argument("--url", default="http://127.0.0.1:9090", help="the admin address (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the answer as it came")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask and print; 0 if the gateway answered, 1 if not, 2 without a key."""
    key = os.environ.get("WAYSTATION_ADMIN_KEY")
    if not key:
        print("explain: set WAYSTATION_ADMIN_KEY to a key of admin.keys in the config.", file=sys.stderr)
        return 2
    asked = {
        "model": args.model,
        "tokens": args.tokens,
        "max_tokens": args.max_tokens,
        "needs": args.needs.split(",") if args.needs else None,
        "team": args.team,
    }
    try:
        answer = _ask(args.url, key, {name: value for name, value in asked.items() if value is not None})
    except HTTPError as error:
        print(f"explain: {_reason(error)}", file=sys.stderr)
        return 1
    except (URLError, OSError, ValueError) as error:
        print(f"explain: no gateway answers at {args.url}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2) if args.json else render(answer))
    return 0


def _ask(url: str, key: str, body: Mapping[str, object]) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(f"{url.rstrip('/')}/admin/v1/explain", json.dumps(body).encode(), headers)
    with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT_S) as response:
        return json.load(response)


def _reason(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered with status {error.code}"


def render(answer: Mapping[str, Any]) -> str:
    """An answer of `/admin/v1/explain` as a table for people."""
    rows: list[Sequence[str]] = [("", "target", "cost $", "TTFT p50/p95", "P(ok)", "P(miss)", "room", "margin $", "")]
    rows += [_row(candidate) for candidate in answer["candidates"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = f"model {answer['model']}, strategy {answer['strategy']}"
    if answer["miss_usd"] is not None:
        head += (
            f", first token within {answer['objective_ttft_s']:g} s; missing that counts as ${answer['miss_usd']:.6f}"
        )
    if "team_may_use_it" in answer:
        lines.append(f"the team {'may' if answer['team_may_use_it'] else 'may NOT'} use this model")
    return "\n".join([head, *lines])


def _row(candidate: Mapping[str, Any]) -> Sequence[str]:
    estimate, margin = candidate["estimate"], candidate["margin_usd"]
    place = "–" if candidate["place"] is None else str(candidate["place"])
    figures = ("–",) * 4
    if estimate is not None:
        figures = (
            f"{estimate['cost_usd']:.6f}",
            f"{estimate['ttft_p50_s']:.2f}/{estimate['ttft_p95_s']:.2f} s",
            f"{estimate['p_ok']:.3f}",
            f"{estimate['p_miss']:.3f}",
        )
    out = candidate["excluded"] or ""
    if out and candidate["until_s"] is not None:
        out += f", {candidate['until_s']:.1f} s left"
    if not out and candidate["drop_params"]:
        out = f"drops {', '.join(candidate['drop_params'])}"
    room = f"{candidate['headroom']:.0%}"
    return (place, candidate["target"], *figures, room, "–" if margin is None else f"{margin:.6f}", out)
