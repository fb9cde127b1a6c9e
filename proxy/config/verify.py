"""What a schema cannot say: names that must exist, loops, settings that contradict each other. Pure, over plain data,
so that it finds its faults in the same run as the schema finds its own; data of a wrong shape is left to the
schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from proxy.config.faults import Path, display_key, suggest
from proxy.config.unserved import unserved

Data = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, or one warning, at a place of the config."""

    path: Path
    message: str
    hint: str = ""
    is_warning: bool = False
    at_key: bool = False


def verify(data: object) -> list[Finding]:
    """Everything that is wrong between the parts of a config, and what deserves a warning."""
    root = _mapping(data)
    providers, models = _mapping(root.get("providers")), _mapping(root.get("models"))
    findings = [
        *_check_targets(providers, models),
        *_check_aliases(models),
        *_check_references(models),
        *_check_loops(models),
        *_check_teams(_mapping(root.get("teams")), models),
        *_check_keys(root),
        *_check_server(root),
    ]
    findings += [Finding(path, message, is_warning=True, at_key=True) for path, message in unserved(root)]
    return findings


def _mapping(value: object) -> Data:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _entries(parent: Data, name: str) -> Iterator[tuple[int, Data]]:
    for index, entry in enumerate(_list(parent.get(name))):
        yield index, _mapping(entry)


def _check_targets(providers: Data, models: Data) -> Iterator[Finding]:
    used = set()
    for model, settings in _sections(models):
        seen = set()
        for index, target in _entries(settings, "targets"):
            path: Path = ("models", model, "targets", index)
            provider = target.get("provider")
            used.add(provider)
            if isinstance(provider, str) and provider not in providers:
                hint = suggest(provider, providers)
                yield Finding((*path, "provider"), f"there is no provider '{display_key(provider)}'", hint)
            pair = (provider, target.get("model"))
            if None not in pair and pair in seen:
                yield Finding(path, "this target is there twice")
            seen.add(pair)
        yield from _check_weights(model, settings)
    for provider in providers:
        if provider not in used:
            yield Finding(("providers", provider), "no model uses this provider", is_warning=True, at_key=True)


def _check_weights(model: str, settings: Data) -> Iterator[Finding]:
    weights = [(index, target["weight"]) for index, target in _entries(settings, "targets") if "weight" in target]
    if settings.get("strategy") != "weighted":
        for index, _ in weights:
            path: Path = ("models", model, "targets", index, "weight")
            yield Finding(path, "only strategy weighted reads a weight", "set strategy: weighted, or drop it")
    elif weights and len(weights) == len(_list(settings.get("targets"))) and not any(weight for _, weight in weights):
        yield Finding(("models", model, "targets"), "all weights are zero: nobody would be asked")


def _check_aliases(models: Data) -> Iterator[Finding]:
    owners = {name: name for name in models}
    for model, settings in _sections(models):
        for index, alias in enumerate(_list(settings.get("aliases"))):
            if not isinstance(alias, str):
                continue
            path: Path = ("models", model, "aliases", index)
            if alias in models:
                yield Finding(path, f"'{display_key(alias)}' is the name of a model")
            elif alias in owners:
                yield Finding(path, f"'{display_key(alias)}' is an alias of '{owners[alias]}' already")
            owners.setdefault(alias, model)


def _references_of(model: str, settings: Data) -> Iterator[tuple[Path, object]]:
    """Every place below a model that names another model."""
    for index, fallback in _entries(settings, "fallbacks"):
        if "model" in fallback:
            yield ("models", model, "fallbacks", index, "model"), fallback["model"]
    tier = _mapping(settings.get("tier"))
    for name in ("simple", "hard"):
        if name in tier:
            yield ("models", model, "tier", name), tier[name]


def _check_references(models: Data) -> Iterator[Finding]:
    for model, settings in _sections(models):
        for path, named in _references_of(model, settings):
            if isinstance(named, str) and named not in models:
                yield Finding(path, f"there is no model '{display_key(named)}'", _suggest_model(named, models))


def _suggest_model(named: str, models: Data) -> str:
    owner = next((model for model, settings in _sections(models) if named in _list(settings.get("aliases"))), None)
    return f"it is an alias: write '{owner}'" if owner else suggest(named, models)


def _check_loops(models: Data) -> Iterator[Finding]:
    """A fallback that leads back to where it began would be asked for ever."""
    graph = {
        model: [
            fallback["model"]
            for _, fallback in _entries(settings, "fallbacks")
            if isinstance(fallback.get("model"), str)
        ]
        for model, settings in _sections(models)
    }
    for model in graph:
        trail = _find_loop(graph, model)
        if trail and model == min(trail):  # each loop once, from its first name in the alphabet
            yield Finding(
                ("models", model, "fallbacks"), f"the fallbacks go round in a circle: {' → '.join((*trail, model))}"
            )


def _find_loop(graph: Mapping[str, list[object]], start: str) -> list[str] | None:
    waiting: list[tuple[str, list[str]]] = [(start, [start])]
    seen = set()
    while waiting:
        model, trail = waiting.pop()
        for following in graph.get(model, ()):
            if following == start:
                return trail
            if isinstance(following, str) and following not in seen:
                seen.add(following)
                waiting.append((following, [*trail, following]))
    return None


def _check_teams(teams: Data, models: Data) -> Iterator[Finding]:
    if not teams:
        yield Finding((), "there are no teams: nobody has a key", is_warning=True)
    for team, settings in _sections(teams):
        lists: list[tuple[Path, object]] = [(("teams", team, "models"), settings.get("models"))]
        for index, quota in _entries(settings, "quotas"):
            path: Path = ("teams", team, "quotas", index)
            lists.append(((*path, "models"), quota.get("models")))
            spent = quota.get("when_spent")
            named = (
                spent.removeprefix("downgrade:") if isinstance(spent, str) and spent.startswith("downgrade:") else None
            )
            if named is not None and named not in models:
                yield Finding(
                    (*path, "when_spent"), f"there is no model '{display_key(named)}'", _suggest_model(named, models)
                )
        for path, names in lists:
            for index, name in enumerate(_list(names)):
                if isinstance(name, str) and name not in models:
                    hint = _suggest_model(name, models)
                    yield Finding((*path, index), f"there is no model '{display_key(name)}'", hint)


def _check_keys(root: Data) -> Iterator[Finding]:
    """Names are unique within a team, secrets everywhere."""
    groups: list[tuple[Path, Data]] = [
        (("teams", team), settings) for team, settings in _sections(_mapping(root.get("teams")))
    ]
    groups.append((("admin",), _mapping(root.get("admin"))))
    secrets: set[object] = set()
    for path, settings in groups:
        names = set()
        for index, key in _entries(settings, "keys"):
            place: Path = (*path, "keys", index)
            name, secret = key.get("name"), key.get("key") or key.get("digest")
            if isinstance(name, str) and name in names:
                yield Finding((*place, "name"), f"the name '{display_key(name)}' is taken by another key")
            if isinstance(secret, str) and secret in secrets:
                yield Finding((*place, "key" if "key" in key else "digest"), "another entry has the same key")
            names.add(name)
            secrets.add(secret if isinstance(secret, str) else None)


def _check_server(root: Data) -> Iterator[Finding]:
    workers = _mapping(root.get("server")).get("workers")
    if isinstance(workers, int) and workers > 1:
        path: Path = ("server", "workers")
        yield Finding(
            path, "this version serves with one worker", "set workers: 1 and run more replicas behind a balancer"
        )


def _sections(parent: Data) -> Iterator[tuple[str, Data]]:
    for name, value in parent.items():
        yield name, _mapping(value)
