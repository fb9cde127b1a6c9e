"""`waystation replay`: a call that was made, and what each strategy would have chosen with what was known then. Asks
the running gateway at its admin address; no provider is called.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from proxy.cli.admin_client import add_options, query
from proxy.cli.columns import columns
from proxy.cli.explain import estimated

_NONE: Final = "–"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    text = (
        "Ask a running gateway about one of its last calls: where it went, and where each strategy would have sent it"
        " with what was known then. Needs an admin key (admin.keys) in WAYSTATION_ADMIN_KEY."
    )
    parser = commands.add_parser("replay", help="where a call went, and where else it might have", description=text)
    parser.add_argument("id", metavar="REQUEST_ID", help="the answer's x-request-id, or the id of its log line")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask and print; 0 if the gateway answered, 1 if not or if it does not know the call, 2 without a key."""
    return query("replay", args, f"/admin/v1/replay/{quote(args.id, safe='')}", render)


def render(answer: Mapping[str, Any]) -> str:
    """An answer of `/admin/v1/replay/{id}` as tables for people."""
    head = f"call {answer['request_id']}, {answer['age_s']:.0f} s ago: model {answer['model']}, "
    head += f"status {answer['status']}" + (f" ({answer['error']})" if answer["error"] else "")
    if answer["fallback"]:
        head += f", answered by the fallback '{answer['fallback']}'"
    lines = [head, "", *_attempts(answer["attempts"])]
    for number, plan in enumerate(answer["plans"], 1):
        lines += ["", *_plan(number, plan)]
    return "\n".join(lines)


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not attempts:
        return ["nobody was asked"]
    rows: list[Sequence[str]] = [("asked", "at s", "outcome", "TTFT s", "took s", "tokens in/out")]
    for one in attempts:
        tokens = _NONE if one["kind"] is None else f"{one['input_tokens']}/{one['output_tokens']}"
        kind = one["kind"] or "under way"
        outcome = kind if one["error"] in (None, kind) else f"{kind} ({one['error']})"
        rows.append(
            (one["target"], f"{one['at_s']:.3f}", outcome, *map(_seconds, (one["ttft_s"], one["duration_s"])), tokens)
        )
    return columns(rows)


def _plan(number: int, plan: Mapping[str, Any]) -> list[str]:
    order = ", ".join(plan["order"]) or "nobody"
    lines = [f"plan {number} at {plan['at_s']:.3f} s: {plan['strategy']} over {plan['model']}, in this order: {order}"]
    lines += [f"  left out: {_excluded(one)}" for one in plan["excluded"]]
    strategies = plan["strategies"]
    if not strategies:
        return [*lines, f"  {_why_not(plan)}"]
    own = next((one for one in strategies if one["in_force"]), None)
    if own is not None and own["targets"][0]["target"] != plan["order"][0]:
        lines.append("  near equals are left to chance, and who was not asked for long is looked at: hence its first")
    rows: list[Sequence[str]] = [("  strategy", "", "target", "cost $", "TTFT p50/p95", "P(ok)", "P(miss)", "margin $")]
    for one in strategies:
        for place, row in enumerate(one["targets"]):
            name = f"{'*' if one['in_force'] else ' '} {one['strategy']}" if place == 0 else ""
            margin = "not yet known" if row["is_stranger"] else f"{row['margin_usd']:.6f}"
            rows.append((name, str(row["place"]), row["target"], *estimated(row["estimate"]), margin))
    lines += columns(rows)
    return [
        *lines,
        f"  first token wanted within {plan['limit_s']:.2f} s; * in force; margin: by how much its score lost",
    ]


def _why_not(plan: Mapping[str, Any]) -> str:
    if plan["strategy"] in ("round_robin", "weighted"):
        return f"{plan['strategy']} takes turns: it compares nobody, so there is no other choice to show"
    return "nobody was compared: who could still be asked was asked before, or was asked in need"


def _excluded(one: Mapping[str, Any]) -> str:
    wait = "" if one["until_s"] is None else f", {one['until_s']:.1f} s left"
    return f"{one['target']}: {one['reason']}{wait}"


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"
