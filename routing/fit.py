"""Whether a target can serve a call at all: its needs, and its length."""

from __future__ import annotations

from routing.types import Facts, Target, Unfit


def unfit(target: Target, facts: Facts) -> tuple[str, None, Unfit] | None:
    """Why a target can't serve this call at any time, if so. Needs come first: of a target that meets them all, a
    larger one of its kind could.
    """
    if facts.needs and target.lacks and not facts.needs.isdisjoint(target.lacks):
        return f"lacks {', '.join(sorted(facts.needs & target.lacks))}", None, "lacks"
    context = target.context_tokens
    if context is not None and facts.least_tokens + (facts.max_output_tokens or 0) > context:
        return f"context of {context} tokens", None, "context"
    return None


def is_tight(target: Target, facts: Facts) -> bool:
    """Is the target's context too small by the estimate, or unknown, and another's was too small? That may be wrong: it
    is asked, but after the others.
    """
    context = target.context_tokens
    if context is None:
        return facts.is_outgrown
    return facts.input_tokens + (facts.max_output_tokens or 0) > context


def rank_last(target: Target, facts: Facts) -> tuple[bool, int]:
    """The order of those that come last, least first: a tight context, the larger the better, before being asked
    again.
    """
    return target.name in facts.tried, -(target.context_tokens or 0) if is_tight(target, facts) else 0
