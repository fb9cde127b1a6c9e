"""Which requests may be answered by the answer of another question, and what must be the same for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from proxy.cache.key import key_of
from proxy.cache.semantic.personal import names_a_person
from proxy.wire.chat import ChatRequest

#: Why a request is not looked up by meaning.
Ineligible = Literal["tools", "not_text", "not_a_question", "short", "long", "time", "history", "personal"]

#: The last user message, in bytes of UTF-8. Shorter ones say too little (`yes`, `继续`), longer ones are documents, and
#: what tells two documents apart is small against what they share.
MIN_BYTES: Final = 10
MAX_BYTES: Final = 2000

_TIME: Final = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|nowadays|currently|current|latest|newest|recent|recently|this (?:week|"
    r"month|year|morning|afternoon|evening|weekend|quarter)|(?:last|next) (?:week|month|year|night|weekend)|so far|"
    r"at the moment|up[- ]to[- ]date|breaking|live score|these days|right away|"
    r"\d+ (?:minutes?|hours?|days?|weeks?|months?|years?) ago)\b"
    r"|今天|今日|今晚|今早|明天|明日|昨天|昨日|后天|前天|现在|目前|当前|眼下|此刻|最新|最近|近期|近来|刚才|刚刚|"
    r"[这本上下](?:周|月|个?星期|个?月|礼拜)|今年|明年|去年|本年|截至|实时",
    re.IGNORECASE,
)
#: Words that point back at what was said. `it` in `it is raining` points at nothing, but with a history nobody knows.
_POINTING: Final = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|their|he|she|him|his|hers?|one|ones|the (?:former|latter|"
    r"same|other|above|previous|first|second|last)|above|previous(?:ly)?|earlier|again|instead|too|also|else|more|another|"
    r"continue|go on|what about|how about|and (?:if|the|what|how|in|for|with)|why not|same|both|"
    r"either|neither|you (?:said|mentioned|wrote))\b"
    r"|这|那|它|他|她|其|此|该|上述|上面|前面|刚才|之前说|前者|后者|继续|再|还有|另外|同样|呢[？?]?$|也|为什么[？?]?$",
    re.IGNORECASE,
)


def ineligible(request: ChatRequest) -> Ineligible | None:
    """Why a request that may be cached at all (`admission.is_eligible` knows) is not looked up by meaning; None: it is.
    Cost: 20 to 30 µs for a question.
    """
    body = request.body
    if _has_tools(body):
        return "tools"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(_is_text(message) for message in messages):
        return "not_text"
    if messages[-1].get("role") != "user" or messages[-1].get("name") is not None:
        return "not_a_question"
    return _unfit_text(question(request), has_history=_has_history(messages))


def question(request: ChatRequest) -> str:
    """The text of the last message; of an eligible request that is the user's. Parts are joined by line breaks."""
    messages = request.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""


def scope_key(scope: bytes, team: str, request: ChatRequest) -> bytes | None:
    """A digest of everything but the text of the last message, 32 bytes; None if there can be none. Only within one are
    answers shared. `scope`: see `key.scope_of`.
    """
    messages = request.body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    last = {name: value for name, value in messages[-1].items() if name != "content"}
    return key_of(scope, team, {**request.body, "messages": [*messages[:-1], last]})


def _unfit_text(text: str, *, has_history: bool) -> Ineligible | None:
    size = len(text.encode())
    if size < MIN_BYTES:
        return "short"
    if size > MAX_BYTES:
        return "long"
    if _TIME.search(text):
        return "time"
    if has_history and _POINTING.search(text):
        return "history"
    return "personal" if names_a_person(text) else None


def _has_tools(body: Mapping[str, object]) -> bool:
    has_tools = bool(body.get("tools")) and body.get("tool_choice") != "none"
    has_functions = bool(body.get("functions")) and body.get("function_call") != "none"
    return has_tools or has_functions


def _is_text(message: object) -> bool:
    """A message of text alone: no picture, sound or file, no call of a tool and none of its results."""
    if not isinstance(message, dict) or message.get("role") in ("tool", "function"):
        return False
    if message.get("tool_calls") or message.get("function_call") or message.get("audio"):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return bool(content) and all(isinstance(part, dict) and part.get("type") == "text" for part in content)
    return isinstance(content, str)


def _has_history(messages: Sequence[Mapping[str, object]]) -> bool:
    return any(message.get("role") not in ("system", "developer") for message in messages[:-1])
