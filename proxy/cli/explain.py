"""`waystation explain`: where a call would go just now, and why. Asks the running gateway at its admin address; no
provider is called.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.cli.admin_client import add_options, query
from proxy.cli.columns import columns


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    text = "Ask a running gateway where a call would go. Needs an admin key (admin.keys) in WAYSTATION_ADMIN_KEY."
    parser = commands.add_parser("explain", help="where a call would go, and why", description=text)
    parser.add_argument("--model", required=True, help="as clients name it")
    parser.add_argument("--tokens", type=int, help="of input (default 1000)")
    parser.add_argument("--max-tokens", type=int, help="the call's own cap on its output")
    parser.add_argument("--needs", help="what it asks for beyond text, such as tools,vision")
    parser.add_argument("--team", help="say whether this team may use the model")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask and print; 0 if the gateway answered, 1 if not, 2 without a key."""
    asked = {
        "model": args.model,
        "tokens": args.tokens,
        "max_tokens": args.max_tokens,
        "needs": args.needs.split(",") if args.needs else None,
        "team": args.team,
    }
    body = {name: value for name, value in asked.items() if value is not None}
    return query("explain", args, "/admin/v1/explain", render, body)


def render(answer: Mapping[str, Any]) -> str:
    """An answer of `/admin/v1/explain` as a table for people."""
    rows: list[Sequence[str]] = [("", "target", "cost $", "TTFT p50/p95", "P(ok)", "P(miss)", "room", "margin $", "")]
    rows += [_row(candidate) for candidate in answer["candidates"]]
    lines = columns(rows)
    head = f"model {answer['model']}, strategy {answer['strategy']}"
    if answer["miss_usd"] is not None:
        head += (
            f", first token within {answer['objective_ttft_s']:g} s; missing that counts as ${answer['miss_usd']:.6f}"
        )
    if answer["failure_usd"] is not None:
        share = f"{100 * answer['objective_success']:.6g} %"
        head += f"; {share} of the calls must succeed, and a failure counts as ${answer['failure_usd']:.6f} more"
    if "team_may_use_it" in answer:
        lines.append(f"the team {'may' if answer['team_may_use_it'] else 'may NOT'} use this model")
    return "\n".join([head, *lines])


def _row(candidate: Mapping[str, Any]) -> Sequence[str]:
    estimate, margin = candidate["estimate"], candidate["margin_usd"]
    place = "–" if candidate["place"] is None else str(candidate["place"])
    figures = ("–",) * 4 if estimate is None else estimated(estimate)
    out = candidate["excluded"] or ""
    if out and candidate["until_s"] is not None:
        out += f", {candidate['until_s']:.1f} s left"
    if not out and candidate["drop_params"]:
        out = f"drops {', '.join(candidate['drop_params'])}"
    room = f"{candidate['headroom']:.0%}"
    return (place, candidate["target"], *figures, room, "–" if margin is None else f"{margin:.6f}", out)


def estimated(estimate: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """An estimate's cost, time to the first token, P(ok) and P(miss), as cells."""
    return (
        f"{estimate['cost_usd']:.6f}",
        f"{estimate['ttft_p50_s']:.2f}/{estimate['ttft_p95_s']:.2f} s",
        f"{estimate['p_ok']:.3f}",
        f"{estimate['p_miss']:.3f}",
    )
