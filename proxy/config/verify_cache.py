"""What is wrong with caches: fallbacks to one that is not there, an embedder that is none. Part of `verify`, and under
the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.faults import Finding, Path, suggest
from proxy.config.plain import Data, as_mapping, entries, sections

#: Kinds of providers that make vectors as OpenAI does.
_EMBEDDING_KINDS: Final = ("openai", "azure")


def check_caches(models: Data, cache: Data, providers: Data) -> Iterator[Finding]:
    """Fallbacks to the cache, and who makes the vectors of questions."""
    has_any = False
    for model, settings in sections(models):
        has_semantic = isinstance(as_mapping(settings.get("cache")).get("semantic"), dict)
        has_any = has_any or has_semantic
        for index, fallback in entries(settings, "fallbacks"):
            if fallback.get("cache") is not None and not has_semantic:
                path: Path = ("models", model, "fallbacks", index, "cache")
                message = "this model has no cache by meaning: there would be nothing to fall back to"
                yield Finding(path, message, "give it cache: {semantic: {}}")
    embedder = as_mapping(cache.get("embedder"))
    name = embedder.get("provider")
    if not isinstance(name, str):
        return
    path = ("cache", "embedder", "provider")
    kind = as_mapping(providers.get(name)).get("kind")
    if name not in providers:
        yield Finding(path, "there is no such provider", suggest(name, providers))
    elif isinstance(kind, str) and kind not in _EMBEDDING_KINDS:
        yield Finding(path, f"a provider of kind {kind} makes no vectors", "name one of kind openai or azure")
    elif not has_any:
        message = "no model has a cache by meaning: nobody asks it"
        yield Finding(("cache", "embedder"), message, "drop it", is_warning=True, at_key=True)
