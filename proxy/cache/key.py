"""What a cached answer is found by: a digest of everything that can change it. The caller's team, the model as
configured, who answers for it, and every field of the request but those of `IGNORED`.

A field that nobody here knows is part of the key: a new parameter costs hits, never a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import orjson

from proxy.config import ModelConfig, ProviderConfig

#: Fields that do not change what is said.
IGNORED: Final = frozenset(
    {
        "model",  # the configured model stands for it: its aliases share answers
        "stream",  # how the answer is written: one stored answer serves both ways
        "stream_options",  # the same
        "user",  # whom the provider holds responsible for abuse
        "safety_identifier",  # its new name
        "metadata",  # labels for the provider's own list of answers
        "store",  # whether it keeps one; `true` is not eligible at all (admission.py)
        "service_tier",  # how soon and at what price it answers
        "prompt_cache_key",  # where the provider's own cache looks for the prompt
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
#: Schemas: models write the fields of what they produce in the order of the schema, so here the order is kept.
_ORDERED: Final = (
    *("response_format", "tools", "functions"),
    *("guided_json", "structured_outputs", "json_schema", "format"),  # vLLM's, llama.cpp's and Ollama's ways to say one
)
#: A change of how keys are made must change them.
_VERSION: Final = b"1"
_DIGEST_BYTES: Final = 32


def scope_of(model: str, settings: ModelConfig, providers: Mapping[str, ProviderConfig]) -> bytes:
    """A digest of the model's name and of what in its config can change an answer: who its targets are and what they
    are sent. Rates, prices, weights and time limits are not in it, nor are credentials.
    """
    targets = []
    for target in settings.targets:
        provider = providers[target.provider]
        described = {
            "kind": provider.kind,
            "base_url": provider.base_url,
            "dialect": provider.dialect,
            "api_version": provider.api_version,
            "headers": dict(provider.headers),
            "profile": provider.profile,
            "model": target.model,
            "drop_params": sorted(target.drop_params),
        }
        targets.append(orjson.dumps(described, option=orjson.OPT_SORT_KEYS))
    return blake2b(_parts(_VERSION, model.encode(), *sorted(targets)), digest_size=_DIGEST_BYTES).digest()


def key_of(scope: bytes, team: str, body: Mapping[str, object]) -> bytes | None:
    """The key of a request's answer, 32 bytes; None if it can't have one. Cost: 5 µs for 1 KB.

    `scope`: see `scope_of`; `body`: the request as it was parsed. Numbers count as they were written: 1 is not 1.0,
    nor true. A field that is null is absent.
    """
    said = {name: value for name, value in body.items() if value is not None and name not in IGNORED}
    try:
        for name in _ORDERED:
            if name in said:
                said[name] = orjson.dumps(said[name]).decode()
        canonical = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # orjson writes fewer levels than it reads
        return None
    return blake2b(_parts(scope, team.encode(), canonical), digest_size=_DIGEST_BYTES).digest()


def _parts(*parts: bytes) -> bytes:
    """All in one, each with its length before it: no two lists of parts look the same."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])
