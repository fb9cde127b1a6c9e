"""What a schema cannot say: names that must exist, loops, settings that contradict each other. Pure, over plain data,
so that it finds its faults in the same run as the schema finds its own; data of a wrong shape is left to the
schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from proxy.config.faults import Finding, Path, display_key, suggest
from proxy.config.plain import Data
from proxy.config.plain import as_list as _list
from proxy.config.plain import as_mapping as _mapping
from proxy.config.plain import entries as _entries
from proxy.config.plain import sections as _sections
from proxy.config.unserved import unserved
from proxy.config.verify_cache import check_caches
from proxy.config.verify_models import check_drops, check_objectives, suggest_model
from proxy.config.verify_prices import HasPrice, check_prices
from proxy.config.verify_state import check_accounting, check_retention, check_workers
from proxy.config.verify_teams import check_key_limits, check_teams


def verify(data: object, has_price: HasPrice | None = None) -> list[Finding]:
    """Everything that is wrong between the parts of a config, and what deserves a warning.

    Without `has_price` there is no price but the config's own, and nothing is said of targets that have none.
    """
    root = _mapping(data)
    providers, models = _mapping(root.get("providers")), _mapping(root.get("models"))
    findings = [
        *_check_targets(providers, models, _mapping(_mapping(root.get("cache")).get("embedder")).get("provider")),
        *check_prices(root, has_price),
        *_check_aliases(models),
        *_check_references(models),
        *_check_loops(models),
        *check_drops(models),
        *check_objectives(providers, models),
        *check_caches(models, _mapping(root.get("cache")), providers),
        *check_teams(_mapping(root.get("teams")), models),
        *check_accounting(root),
        *check_key_limits(_mapping(root.get("teams"))),
        *_check_keys(root),
        *check_workers(root),
        *check_retention(root),
        *_check_addresses(_mapping(root.get("server"))),
        *_check_presence(root),
    ]
    findings += [Finding(path, message, is_warning=True, at_key=True) for path, message in unserved(root)]
    return findings


def _check_targets(providers: Data, models: Data, embedder: object) -> Iterator[Finding]:
    used = {embedder} if isinstance(embedder, str) else set()
    for model, settings in _sections(models):
        seen = set()
        for index, target in _entries(settings, "targets"):
            path: Path = ("models", model, "targets", index)
            provider, name = target.get("provider"), target.get("model")
            if not isinstance(provider, str):
                continue
            used.add(provider)
            if provider not in providers:
                yield Finding((*path, "provider"), "there is no such provider", suggest(provider, providers))
            if isinstance(name, str):
                if (provider, name) in seen:
                    yield Finding(path, "this target is there twice")
                seen.add((provider, name))
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
        message = "all weights are zero: nobody would be asked"
        yield Finding(("models", model, "targets"), message, "give at least one a weight above 0")


def _check_aliases(models: Data) -> Iterator[Finding]:
    owners = {name: name for name in models}
    for model, settings in _sections(models):
        for index, alias in enumerate(_list(settings.get("aliases"))):
            if not isinstance(alias, str):
                continue
            path: Path = ("models", model, "aliases", index)
            if alias in models:
                yield Finding(path, "a model has this name already")
            elif alias in owners:
                yield Finding(path, f"'{display_key(owners[alias])}' has this alias already")
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
                yield Finding(path, "there is no such model", suggest_model(named, models))


def _check_loops(models: Data) -> Iterator[Finding]:
    """A fallback that leads back to where it began makes no sense. A tier may: it is looked at once, for the model that
    the client named, so a model may fall back to the one whose tier it is.
    """
    graph = {
        model: {
            named: index
            for index, fallback in reversed(list(_entries(settings, "fallbacks")))
            if isinstance(named := fallback.get("model"), str)
        }
        for model, settings in _sections(models)
    }
    circling = _circling(graph)
    for model in circling:
        trail = _find_loop(circling, model)
        if trail:
            path: Path = ("models", model, "fallbacks", graph[model][trail[1]], "model")
            circle = " → ".join(map(display_key, trail))
            yield Finding(path, f"the fallbacks go round in a circle: {circle}", "leave this one out")


def _circling(graph: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """The models that some circle can be reached from: a chain, however long, is none. O(models + fallbacks)."""
    leading = {model: sum(named in graph for named in graph[model]) for model in graph}
    before: dict[str, list[str]] = {}
    for model, following in graph.items():
        for named in following:
            before.setdefault(named, []).append(model)
    ends = [model for model, count in leading.items() if not count]
    left = dict(graph)
    while ends:
        end = ends.pop()
        del left[end]
        for model in before.get(end, ()):
            leading[model] -= 1
            if not leading[model]:
                ends.append(model)
    return left


def _find_loop(graph: Mapping[str, Mapping[str, int]], start: str) -> list[str]:
    """A way from a model back to itself through models that come later in the alphabet: so each loop is found once."""
    waiting: list[list[str]] = [[start]]
    seen = set()
    while waiting:
        trail = waiting.pop()
        for following in graph.get(trail[-1], ()):
            if following == start:
                return [*trail, start]
            if following > start and following not in seen:
                seen.add(following)
                waiting.append([*trail, following])
    return []


def _check_keys(root: Data) -> Iterator[Finding]:
    """Names are unique within a team, keys everywhere: whose would it be?"""
    groups: list[tuple[Path, Data]] = [
        (("teams", team), settings) for team, settings in _sections(_mapping(root.get("teams")))
    ]
    groups.append((("admin",), _mapping(root.get("admin"))))
    digests: set[str] = set()
    for path, settings in groups:
        names: set[str] = set()
        for index, key in _entries(settings, "keys"):
            place: Path = (*path, "keys", index)
            name, setting = key.get("name"), "key" if "key" in key else "digest"
            if isinstance(name, str):
                if name in names:
                    yield Finding((*place, "name"), "another key here has this name")
                names.add(name)
            if isinstance(secret := key.get(setting), str):
                digest = secret if setting == "digest" else f"sha256:{sha256(secret.encode()).hexdigest()}"
                if digest in digests:
                    yield Finding((*place, setting), "another entry has the same key")
                digests.add(digest)


def _check_addresses(server: Data) -> Iterator[Finding]:
    admin = server.get("admin_listen")
    if isinstance(admin, str) and admin == server.get("listen") and not admin.endswith(":0"):
        yield Finding(("server", "admin_listen"), "clients have this address (server.listen)", "choose another port")


def _check_presence(root: Data) -> Iterator[Finding]:
    """A gateway without these starts, and refuses every call."""
    for section, what in (("models", "models: there is nothing to ask"), ("teams", "teams: nobody has a key")):
        if not root.get(section):
            path: Path = (section,) if section in root else ()
            yield Finding(path, f"there are no {what}", is_warning=True, at_key=True)
