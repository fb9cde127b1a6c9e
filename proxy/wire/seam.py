"""The seam of a streamed answer that was cut and goes on elsewhere: what of it had come, what to ask for the rest with,
and how the rest is joined to it, for text alone.

A chat model that is asked to go on begins anywhere: at the cut, some words before it, or at the start again. So it is
asked to repeat the last words first, and what it repeats of the text so far is left out: the words join exactly, blanks
included.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import orjson

from proxy.wire.chat import ChatRequest
from proxy.wire.failure import MalformedAnswer

_DONE: Final = b"[DONE]"
#: Blocks are read in pieces of so many bytes: nothing is parsed while a token comes, and no long answer is kept twice.
_UNREAD_BYTES: Final = 64 * 1024
#: Of the text so far, so much is compared with what comes next.
_MAX_OVERLAP: Final = 8_000
#: An overlap this short may be chance: "he" after "the" repeats nothing. Other scripts say more with a character.
_LEAST_OVERLAP: Final = 6
_LEAST_OVERLAP_DENSE: Final = 3
#: From here on, Unicode has the scripts of Chinese, Japanese and Korean.
_FIRST_DENSE: Final = "\u2e80"
#: How many characters the rest is asked to begin with.
_REPEATED: Final = 40
#: So much may stand before the repeated words: a quotation mark, a fence, "Sure, here is the rest:".
_MAX_PREFACE: Final = 120
_LEAST_ANCHOR: Final = 12
#: A rest that begins as the answer did, and does not repeat it, is the answer anew.
_SAME_START: Final = 16
_INSTRUCTION: Final = (
    "Your last message was cut off in the middle. Send only the rest of it, without any comment. Begin by repeating "
    "exactly these last words of it, then go on as if there had been no interruption:"
)
#: Room for an answer that is nearly at its cap: what has come is known in bytes only.
_LEAST_TOKENS: Final = 16
_BYTES_PER_TOKEN: Final = 4
#: What all chunks of an answer have in common. The model is not among them: the rest is another's, and says so.
_COMMON: Final = ("id", "created")
_THOUGHTS: Final = ("reasoning_content", "reasoning")
_PLAIN: Final = frozenset({"role", "content", *_THOUGHTS})


def can_be_resumed(request: ChatRequest) -> bool:
    """Is it a request whose answer is one plain text? Half a JSON document has no seam that a model keeps to."""
    body = request.body
    kind = body.get("response_format")
    return (
        request.n == 1
        and not (isinstance(kind, dict) and kind.get("type") not in (None, "text"))
        and not body.get("logprobs")
        and not body.get("audio")
    )


def resuming_messages(text: str, in_words: bool) -> list[dict[str, str]]:
    """What follows the request's messages so that a model goes on with `text`.

    `in_words`: it has no other way of being told to.
    """
    so_far = {"role": "assistant", "content": text}
    if not in_words:
        return [so_far]
    words = last_words(text)
    return [so_far, {"role": "user", "content": f"{_INSTRUCTION}\n{words}"}]


class Seam:
    """One answer, however many streams it comes in."""

    __slots__ = (
        "_anchor",
        "_head",
        "_held",
        "_is_joined",
        "_is_text",
        "_is_thinking",
        "_text",
        "_unread",
        "_unread_bytes",
    )

    def __init__(self) -> None:
        self._head: dict[str, object] = {}  # what all chunks of an answer have in common; empty until one came
        self._text = ""
        self._is_text = True  # has nothing but text come, and is it unfinished?
        self._is_thinking = False  # is what came last a train of thought? Half of one can't be gone on with
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._is_joined = True  # False: a continuation's beginning is withheld, in `_held`
        self._held = ""
        self._anchor: re.Pattern[str] | None = None

    def passed(self, block: bytes) -> None:
        """A block of the answer went to the client."""
        if not self._is_text:
            return  # there is no going on: nothing more need be known
        self._unread.append(block)
        self._unread_bytes += len(block)
        if self._unread_bytes > _UNREAD_BYTES:
            self._read()

    def resume(self, request: ChatRequest) -> ChatRequest | None:
        """The stream was cut: what to ask for the rest with. None if more than text has come, or the text is whole."""
        self._read()
        if not self._is_text or self._is_thinking:
            return None
        self._is_joined, self._held = not self._text, ""
        self._anchor = _anchor_of(self._text)
        spent = tokens_in(self._text)
        body = dict(request.body)
        for name in ("max_tokens", "max_completion_tokens"):
            cap = body.get(name)
            if type(cap) is int:
                body[name] = max(min(cap, _LEAST_TOKENS), cap - spent)
        size_bytes = request.size_bytes + len(orjson.dumps(resuming_messages(self._text, in_words=True)))
        return replace(request, body=body, text_so_far=self._text, size_bytes=size_bytes)

    def go_on_exactly(self) -> None:
        """The rest begins where the text was cut: what looks like a repetition is none."""
        self._is_joined = True

    def join(self, block: bytes) -> bytes:
        """A block of the rest, as it continues the answer; empty if nothing is left of it. Raises MalformedAnswer if it
        is another answer.
        """
        out = []
        for event in block.split(b"\n\n")[:-1]:
            payload = event.removeprefix(b"data: ")
            if payload == _DONE:
                out += [*self._rest(), event]
                continue
            try:
                chunk = orjson.loads(payload)
            except orjson.JSONDecodeError:  # let through unread upstream: nothing of it can be joined, nothing is lost
                out += [*self._rest(), event]
                continue
            chunk.update(self._head)
            if self._join_choices(chunk):
                out.append(b"data: " + orjson.dumps(chunk))
        joined = b"".join(event + b"\n\n" for event in out)
        if joined:
            self.passed(joined)
        return joined

    def _join_choices(self, chunk: dict[str, object]) -> bool:
        """Is there anything left to send of this chunk?"""
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return True  # usage
        delta = choices[0].get("delta")
        if not isinstance(delta, dict):
            return True
        if self._head:  # the client has had it
            delta.pop("role", None)
        for name in _THOUGHTS if self._text else ():
            delta.pop(name, None)
        is_last = bool(choices[0].get("finish_reason"))
        content = delta.get("content")
        if not self._is_joined:
            is_last_text = is_last or any(delta.get(name) for name in ("tool_calls", "refusal"))
            content = self._join_text(content if isinstance(content, str) else "", is_last_text)
            delta["content"] = content
        return bool(content or is_last or any(value for name, value in delta.items() if name != "content"))

    def _join_text(self, text: str, is_last: bool) -> str:
        """Withhold the beginning of the rest while it may still be a repetition."""
        self._held += text
        held = self._held.lstrip()
        if not is_last and (not held or (len(held) < _MAX_OVERLAP and held in self._text[-_MAX_OVERLAP:])):
            return ""
        cut = overlap(self._text, held)
        if not cut and self._anchor is not None:
            found = self._anchor.search(held, 0, 2 * _MAX_PREFACE)
            if found is not None:
                self._is_joined = True
                return _after(self._text, held[found.end() :])
            if not is_last and len(held) < _MAX_PREFACE:
                return ""
        self._is_joined = True
        if cut:
            return held[cut:]
        if len(self._text) > _SAME_START and held.startswith(self._text[:_SAME_START]):
            raise MalformedAnswer("it starts again, in other words")
        bare = self._text.rstrip()
        cut = 0 if bare == self._text else overlap(bare, held)
        return held[cut:].lstrip() if cut else self._held

    def _rest(self) -> list[bytes]:
        """What was withheld to the very end, of an answer without a finish_reason."""
        text = "" if self._is_joined else self._join_text("", is_last=True)
        choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
        chunk = {**self._head, "object": "chat.completion.chunk", "model": "", "choices": [choice]}
        return [b"data: " + orjson.dumps(chunk)] if text else []

    def _read(self) -> None:
        texts: list[str] = []
        for block in self._unread:
            for event in block.split(b"\n\n")[:-1]:
                self._read_event(event.removeprefix(b"data: "), texts)
        if texts:
            self._text += "".join(texts)  # once: each += copies all that has come
        self._unread.clear()
        self._unread_bytes = 0

    def _read_event(self, payload: bytes, texts: list[str]) -> None:
        try:
            chunk = None if payload == _DONE else orjson.loads(payload)
        except orjson.JSONDecodeError:
            chunk = None  # chunks of one shape pass unread: what is in it nobody knows, so there is no going on
        if chunk is None or not chunk.get("choices"):
            # Over, or (Azure's first chunk) a word on the prompt.
            self._is_text = self._is_text and chunk is not None and chunk.get("usage") is None
            return
        if not self._head:
            self._head = {name: chunk[name] for name in _COMMON if name in chunk}
        choice = chunk["choices"][0]
        delta = choice.get("delta") or {}
        content = delta.get("content")
        if isinstance(content, str) and content:
            texts.append(content)
            self._is_thinking = False
        elif any(delta.get(name) for name in _THOUGHTS):
            self._is_thinking = True
        beside = any(value for name, value in delta.items() if name not in _PLAIN)
        self._is_text = self._is_text and not (choice.get("finish_reason") or beside)


def tokens_in(text: str) -> int:
    """About how many tokens the text is."""
    return len(text.encode(errors="replace")) // _BYTES_PER_TOKEN


def overlap(before: str, after: str) -> int:
    """How many characters at the start of `after` repeat the end of `before`; 0 if they may do so by chance."""
    for length in range(min(len(before), len(after), _MAX_OVERLAP), 0, -1):
        if before.endswith(after[:length]):
            is_dense = any(character >= _FIRST_DENSE for character in after[:length])
            least = _LEAST_OVERLAP_DENSE if is_dense else _LEAST_OVERLAP
            return length if length >= min(least, len(before)) else 0
    return 0


def _anchor_of(text: str) -> re.Pattern[str] | None:
    """Finds the words that the rest was asked to begin with, whatever the blanks between them."""
    words = last_words(text).split()
    return re.compile(r"\s+".join(map(re.escape, words))) if sum(map(len, words)) >= _LEAST_ANCHOR else None


def _after(text: str, rest: str) -> str:
    blanks = text[len(text.rstrip()) :]
    return rest[len(blanks) :] if rest.startswith(blanks) else rest.lstrip()


def last_words(text: str) -> str:
    """The words that the rest of a cut text is asked to begin with: whole ones, where there are blanks between them."""
    tail = text[-_REPEATED:]
    if len(tail) == len(text):
        return tail
    start = tail.find(" ") + 1
    return tail[start:] if 0 < start < _REPEATED // 2 else tail
