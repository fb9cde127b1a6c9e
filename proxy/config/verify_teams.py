"""What is wrong within one team: models that do not exist, limits of a key that its team's make void, quotas that count
the same. Part of `verify`, and under the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.faults import Finding, Path
from proxy.config.plain import Data, as_list, as_mapping, entries, sections
from proxy.config.schema_units import count_of
from proxy.config.verify_models import suggest_model


def check_key_limits(teams: Data) -> Iterator[Finding]:
    """A key's limit above its team's: the team's is always reached first."""
    for team, settings in sections(teams):
        team_limits = as_mapping(settings.get("limits"))
        for index, key in entries(settings, "keys"):
            for name, value in as_mapping(key.get("limits")).items():
                own, whole = count_of(value), count_of(team_limits.get(name))
                if own is not None and whole is not None and own > whole:
                    path: Path = ("teams", team, "keys", index, "limits", name)
                    message = f"never reached: the whole team may have {whole:,}"
                    yield Finding(path, message, "lower it, or drop it", is_warning=True)


def check_teams(teams: Data, models: Data) -> Iterator[Finding]:
    """Models that are named by a team, and quotas of it and of its keys."""
    for team, settings in sections(teams):
        path: Path = ("teams", team)
        allowed = settings.get("models")
        yield from _check_model_names((*path, "models"), allowed, models)
        yield from _check_quotas(path, settings, models, allowed)
        for index, key in entries(settings, "keys"):
            yield from _check_quotas((*path, "keys", index), key, models, allowed)


def _check_quotas(path: Path, owner: Data, models: Data, allowed: object) -> Iterator[Finding]:
    seen: set[object] = set()
    for index, quota in entries(owner, "quotas"):
        place: Path = (*path, "quotas", index)
        named = as_list(quota.get("models"))
        yield from _check_model_names((*place, "models"), named, models)
        unit = "usd" if "usd" in quota else "tokens"
        same = unit, str(quota.get("per")), tuple(sorted(map(str, named)))
        if same in seen:
            yield Finding(place, f"another quota here counts the same {unit} per {same[1]}", "keep the smaller one")
        seen.add(same)
        if quota.get("when_spent") == "cache_only" and not any(map(_has_cache, _counted(named, models))):
            message = "no model that it counts has a cache: calls are refused"
            yield Finding((*place, "when_spent"), message, "give it cache: {exact: {}}", is_warning=True)
        yield from _check_downgrade((*place, "when_spent"), quota.get("when_spent"), named, models, allowed)


def _counted(named: list[object], models: Data) -> Iterator[object]:
    """The models whose calls a quota counts: those that it names, or all."""
    return (settings for model, settings in models.items() if not named or model in named)


def _has_cache(model: object) -> bool:
    cache = as_mapping(as_mapping(model).get("cache"))
    return isinstance(cache.get("exact"), dict) or isinstance(cache.get("semantic"), dict)


def _check_downgrade(
    path: Path, spent: object, named: list[object], models: Data, allowed: object
) -> Iterator[Finding]:
    if not isinstance(spent, str) or not spent.startswith("downgrade:"):
        return
    model = spent.removeprefix("downgrade:")
    yield from _check_model_name(path, model, models)
    if isinstance(allowed, list) and model in models and model not in allowed:
        yield Finding(path, "the team may not use this model", "add it to the team's models")
    if named == [model]:
        yield Finding(path, "this is the model whose quota it is", "name a cheaper one")


def _check_model_names(path: Path, names: object, models: Data) -> Iterator[Finding]:
    for index, name in enumerate(as_list(names)):
        yield from _check_model_name((*path, index), name, models)


def _check_model_name(path: Path, name: object, models: Data) -> Iterator[Finding]:
    if isinstance(name, str) and name not in models:
        yield Finding(path, "there is no such model", suggest_model(name, models))
