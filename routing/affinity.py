"""Which target probably still holds a conversation's prompt in its cache.

The key says which calls belong together, the map where they were served lately. What a warm prompt is worth, and how
much load a target may draw by it, is the scorer's business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

#: Below this a request has no prefix worth keeping.
_MIN_CHARS: Final = 200
#: Of each hashed text no more than this: what begins alike shares a prefix.
_HASHED_CHARS: Final = 4096
#: A prompt with more messages or tools before its first user message than this is known by the first of them.
_MAX_PIECES: Final = 64
_OPENING_ROLES: Final = frozenset({"system", "developer", "user"})

#: Providers cache prompts from 1,024 tokens on, in steps of 128 (OpenAI's prompt caching guide).
_MIN_CACHED_TOKENS: Final = 1024
_CACHE_STEP_TOKENS: Final = 128
_MAX_TARGETS: Final = 3
_NOWHERE: Final[Mapping[str, int]] = MappingProxyType({})


def sticky_key(request: Mapping[str, object], team: str) -> int | None:
    """64 bits that calls of one conversation share: hash of team, model, tools, and the messages up to the first of
    the user. None if the whole request holds under 200 characters of text. Never raises; hashes at most 4,096
    characters of each text. A system message that joins later does not change the key.
    """
    messages = request.get("messages")
    if not isinstance(messages, list):
        return None
    tools = request.get("tools")
    tool_texts = [*_tool_texts(tools)] if isinstance(tools, list) else []
    if not _is_long_enough(messages, sum(map(len, tool_texts))):
        return None
    model = request.get("model")
    pieces = [team, model if isinstance(model, str) else "", *tool_texts]
    for message in messages[:_MAX_PIECES]:
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(role, str) and role in _OPENING_ROLES:
            pieces.append(role)
            pieces.extend(_texts(message))
        if role == "user":
            break
    digest = blake2b(digest_size=8)
    for piece in pieces:
        data = piece[:_HASHED_CHARS].encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))  # so that no two lists of pieces look alike
        digest.update(data)
    return int.from_bytes(digest.digest(), "big")


class Affinity:
    """Sticky keys and the targets that served them lately; the longest unserved key makes room. All O(1)."""

    def __init__(self, ttl_s: float = 300.0, max_entries: int = 20_000) -> None:
        """`ttl_s`: how long a provider keeps a prompt, counted from its last use; `max_entries`: keys, about 400 bytes
        each, at least one. Raises ValueError otherwise.
        """
        if not ttl_s > 0 or max_entries < 1:
            raise ValueError(f"need ttl_s > 0 and max_entries >= 1, got {ttl_s} and {max_entries}")
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        #: key -> (target, served at, input tokens), latest first
        self._served: OrderedDict[int, tuple[tuple[str, float, int], ...]] = OrderedDict()

    def __len__(self) -> int:
        """Keys held, expired ones included."""
        return len(self._served)

    def warm(self, sticky: int | None, input_tokens: int, now: float) -> Mapping[str, int]:
        """How many of the `input_tokens` which targets probably still have: multiples of 128, from 1,024 on."""
        served = self._served.get(sticky) if sticky is not None else None
        if served is None:
            return _NOWHERE
        warm = {}
        for name, at, then_tokens in served:
            tokens = min(then_tokens, input_tokens)
            if tokens >= _MIN_CACHED_TOKENS and now - at < self._ttl_s:
                warm[name] = tokens - tokens % _CACHE_STEP_TOKENS
        return warm

    def served(self, sticky: int | None, target: str, input_tokens: int, now: float) -> None:
        """Note that the target has just read this prompt. Of one key the latest three targets are kept."""
        if sticky is None:
            return
        others = (
            entry for entry in self._served.get(sticky, ()) if entry[0] != target and now - entry[1] < self._ttl_s
        )
        self._served[sticky] = ((target, now, input_tokens), *others)[:_MAX_TARGETS]
        self._served.move_to_end(sticky)
        if len(self._served) > self._max_entries:
            self._served.popitem(last=False)


def _is_long_enough(messages: list[object], tool_chars: int) -> bool:
    chars = tool_chars
    for message in messages:
        for text in _texts(message):
            chars += len(text)
            if chars >= _MIN_CHARS:
                return True
    return chars >= _MIN_CHARS


def _texts(message: object) -> Iterator[str]:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content[:_MAX_PIECES]:
            if isinstance(part, dict) and part.get("type") == "text" and isinstance(text := part.get("text"), str):
                yield text


def _tool_texts(tools: list[object]) -> Iterator[str]:
    # Names and descriptions only: serialising the schemas of 20 tools takes longer than all the rest.
    for tool in tools[:_MAX_PIECES]:
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict):
            for field in ("name", "description"):
                if isinstance(text := function.get(field), str):
                    yield text
