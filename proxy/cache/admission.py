"""What may be answered from the cache, and which answers are worth keeping: whole ones, of which another caller of the
same team would have got the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from proxy.wire.chat import ChatRequest

#: With a higher temperature a caller asks for chance.
_MAX_TEMPERATURE: Final = 0.3
#: Digesting 1 MB takes 2 ms of the event loop.
MAX_REQUEST_BYTES: Final = 1_000_000
MAX_ANSWER_BYTES: Final = 1_000_000
#: Tools that only the client carries out; those of the provider's own look into a world that changes.
_CLIENT_TOOLS: Final = frozenset({"function", "custom"})

#: What makes an answer depend on a world that changes, in the words of several providers.
_LOOKS_AROUND: Final = ("web_search_options", "audio", "plugins", "search_parameters", "enable_search")

#: Members that both forms of an answer can say, at the top of a completion, of its choice and of its message. What
#: providers add besides is kept if it is nothing (null, an empty list), or known to say nothing of the text.
_COMPLETION: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "provider"}
    | {"prompt_filter_results", "x_groq", "timings"}
)
_CHOICE: Final = frozenset({"index", "message", "finish_reason", "content_filter_results", "native_finish_reason"})
_MESSAGE: Final = frozenset({"role", "content", "reasoning_content", "reasoning"})

#: Why an answer is not kept.
Unfit = Literal["unfinished", "no_text", "strange", "too_large"]


def is_eligible(request: ChatRequest, *, is_sampled: bool) -> bool:
    """May this request be answered from the cache? `is_sampled`: also if it asks for chance."""
    body = request.body
    if request.n != 1 or request.size_bytes > MAX_REQUEST_BYTES:
        return False
    temperature = body.get("temperature")
    if not is_sampled and temperature is not None and not _is_low(temperature):
        return False
    if body.get("store") is True or body.get("logprobs") is True:
        return False
    if any(body.get(name) not in (None, False) for name in _LOOKS_AROUND) or _has_remote_image(body.get("messages")):
        return False
    modalities, tools = body.get("modalities"), body.get("tools")
    if modalities is not None and modalities != ["text"]:
        return False
    return not isinstance(tools, list) or all(_is_carried_out_by_client(tool) for tool in tools)


def unfit(document: Mapping[str, object], size_bytes: int) -> Unfit | None:
    """Why this completion is not kept; None: it is. `size_bytes` of it as JSON."""
    if size_bytes > MAX_ANSWER_BYTES:
        return "too_large"
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    if not isinstance(choice, dict) or choice.get("finish_reason") != "stop":
        return "unfinished"  # cut at its length, filtered, or a call of tools
    message = choice.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("content"), str) or not message["content"]:
        return "no_text"
    if not (_says_only(document, _COMPLETION) and _says_only(choice, _CHOICE) and _says_only(message, _MESSAGE)):
        return "strange"
    if any(not isinstance(message.get(name, ""), str | None) for name in ("reasoning_content", "reasoning")):
        return "strange"
    return None


def _has_remote_image(messages: object) -> bool:
    """One that is named by its address: what lies there may be another one next time."""
    if not isinstance(messages, list):
        return False
    for message in messages:
        parts = message.get("content") if isinstance(message, dict) else None
        if isinstance(parts, list) and any(_is_remote(part) for part in parts):
            return True
    return False


def _is_remote(part: object) -> bool:
    image = part.get("image_url") if isinstance(part, dict) else None
    url = image.get("url") if isinstance(image, dict) else image
    return isinstance(url, str) and not url.startswith("data:")


def _is_low(temperature: object) -> bool:
    return isinstance(temperature, int | float) and 0 <= temperature <= _MAX_TEMPERATURE


def _is_carried_out_by_client(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type") in _CLIENT_TOOLS


def _says_only(part: Mapping[str, object], names: frozenset[str]) -> bool:
    """A refusal, a call of tools, annotations, audio, log probabilities: an answer with these is not kept."""
    return all(name in names or value is None or value in ([], {}, "") for name, value in part.items())
