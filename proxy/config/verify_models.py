"""What contradicts itself within one model: parameters that can't be left out, objectives that nothing can miss or
meet. Part of `verify`, and under the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.faults import Finding, Path, display_key, nearest, suggest
from proxy.config.parameters import KEPT, PARAMETERS
from proxy.config.plain import Data, as_list, as_mapping, entries, sections
from proxy.config.schema_models import SloConfig, TimeoutsConfig
from proxy.config.schema_units import seconds_of

#: Strategies that look at all of `slo`, and those that look at its `success` alone.
_HAVE_OBJECTIVE: Final = frozenset({"balanced", "reliable"})
_COUNT_FAILURES: Final = frozenset({"cheapest", "fastest"})


def check_drops(models: Data) -> Iterator[Finding]:
    """`drop_params` that would change what kind of answer comes, or that no request has."""
    for model, settings in sections(models):
        for index, target in entries(settings, "targets"):
            names = as_list(target.get("drop_params"))
            for place, name in enumerate(names):
                path: Path = ("models", model, "targets", index, "drop_params", place)
                if not isinstance(name, str):
                    continue
                if name in KEPT:
                    message = "never left out: without it, another kind of answer would come"
                    yield Finding(path, message, "let lacks say what the target cannot do")
                elif name == "logprobs" and "top_logprobs" not in names:
                    yield Finding(path, "top_logprobs alone is refused everywhere", "leave out top_logprobs too")
                elif name not in PARAMETERS:
                    message = "no parameter of the chat API; left out if a request has it"
                    yield Finding(path, message, nearest(name, sorted(PARAMETERS - KEPT)), is_warning=True)


def check_objectives(providers: Data, models: Data) -> Iterator[Finding]:
    """Objectives that nobody reads, no answer can miss, or a target can't meet, as far as the config tells."""
    for model, settings in sections(models):
        slo = as_mapping(settings.get("slo"))
        if not slo:
            continue
        strategy = settings.get("strategy", "round_robin")
        if isinstance(strategy, str) and strategy not in _HAVE_OBJECTIVE:
            yield from _unread(model, slo, strategy)
            continue
        ttft_s = seconds_of(slo.get("ttft", SloConfig.model_fields["ttft_s"].default))
        if ttft_s is not None:
            yield from _check_limits(model, as_mapping(settings.get("timeouts")), ttft_s)
            yield from _check_simulated(model, settings, providers, ttft_s)


def _unread(model: str, slo: Data, strategy: str) -> Iterator[Finding]:
    """What a strategy without an objective does not look at."""
    path: Path = ("models", model, "slo")
    if strategy not in _COUNT_FAILURES:
        message = "this strategy does not look at it; balanced and reliable do"
        yield Finding(path, message, is_warning=True, at_key=True)
        return
    for name in ("ttft", "ttft_within"):
        if name in slo:
            message = "this strategy looks at slo.success alone; balanced and reliable look at all of it"
            yield Finding((*path, name), message, is_warning=True)


def _check_limits(model: str, timeouts: Data, ttft_s: float) -> Iterator[Finding]:
    for name in ("first_token", "total"):
        limit_s = seconds_of(timeouts.get(name, TimeoutsConfig.model_fields[f"{name}_s"].default))
        if limit_s is not None and ttft_s > limit_s:
            message = f"longer than timeouts.{name}: an answer ends as a failure before it can be late"
            path: Path = ("models", model, "slo", "ttft")
            yield Finding(path, message, f"shorten it, or raise timeouts.{name}", is_warning=True)
            return


def _check_simulated(model: str, settings: Data, providers: Data, ttft_s: float) -> Iterator[Finding]:
    """How soon a provider begins is known of simulated ones alone."""
    for index, target in entries(settings, "targets"):
        name = target.get("provider")
        provider = as_mapping(providers.get(name)) if isinstance(name, str) else {}
        first_token_s = seconds_of(as_mapping(provider.get("faults")).get("first_token"))
        if provider.get("kind") == "demo" and first_token_s is not None and first_token_s > ttft_s:
            path: Path = ("models", model, "targets", index)
            message = "this simulated target usually begins later than slo.ttft: it cannot meet it"
            yield Finding(path, message, "promise a later ttft, or leave the target out", is_warning=True)


def suggest_model(named: str, models: Data) -> str:
    """What was meant by a name that no model has: the model whose alias it is, or the nearest name."""
    owner = next((model for model, settings in sections(models) if named in as_list(settings.get("aliases"))), None)
    return f"it is an alias: write '{display_key(owner)}'" if owner else suggest(named, models)
