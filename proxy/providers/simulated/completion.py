"""The whole simulated answer to a request, before it is put on any wire. A pure function of the request."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import Final, Literal

from proxy.providers.simulated.instance import instance
from proxy.providers.simulated.request import BadRequestError, SimulatedRequest, Tool
from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.text import answer_text, cut_at_stop, rest_text, split_pieces
from proxy.providers.simulated.values import compact

#: Some 0.1 s of work; ordinary schemas need a few hundred.
_MAX_STEPS: Final = 30_000
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
#: Words of tool names that say nothing about their subject.
_FILLERS: Final = frozenset(
    {"get", "set", "the", "and", "for", "with", "from", "tool", "function", "call", "run", "make", "your", "what"}
)
_MIN_WORD_CHARS: Final = 3

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function the answer calls."""

    id: str
    name: str
    pieces: tuple[str, ...]  #: join to the arguments


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the `n` answers: text or tool calls."""

    pieces: tuple[str, ...]  #: join to the text
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    id: str
    model: str
    fingerprint: str
    choices: tuple[Choice, ...]
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        """Pieces of all choices, arguments included."""
        return sum(len(choice.pieces) + sum(len(call.pieces) for call in choice.calls) for choice in self.choices)

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.prompt_tokens + self.completion_tokens


def complete(request: SimulatedRequest) -> Completion:
    """The answer. Raises BadRequestError if it needs an instance of a schema that is beyond us."""
    steps = Steps(_MAX_STEPS)
    tools = _called(request)
    return Completion(
        id=f"chatcmpl-{request.digest[:29]}",
        model=request.model,
        fingerprint=f"fp_{hashlib.sha256(request.model.encode()).hexdigest()[:10]}",
        choices=tuple(_choice(request, tools, at, steps) for at in range(request.choices)),
        prompt_tokens=request.prompt_tokens,
    )


def _called(request: SimulatedRequest) -> tuple[Tool, ...]:
    """The tools the answer calls; none for a text."""
    if request.mode == "none":
        return ()
    fitting = tuple(tool for tool in request.tools if request.asks and _is_mentioned(tool.name, request.question))
    if request.mode == "auto":
        called = fitting
    else:
        called = fitting or request.tools[:1]
        if not called:
            raise BadRequestError("A simulated provider can only call tools of type 'function'.", param="tools")
    return called if request.parallel else called[:1]


def _is_mentioned(name: str, question: str) -> bool:
    """Does the question hold the tool's name, or a telling word of it?"""
    asked = question.lower()
    words = {word.lower() for word in _WORD.findall(name)} - _FILLERS
    telling = {word for word in words if len(word) >= _MIN_WORD_CHARS}
    return name.lower() in asked or not telling.isdisjoint(re.findall(r"[a-z]+|\d+", asked))


def _choice(request: SimulatedRequest, tools: tuple[Tool, ...], at: int, steps: Steps) -> Choice:
    rng = random.Random(f"{request.digest}:{at}")
    limit = request.max_tokens
    if not tools:
        pieces = split_pieces(cut_at_stop(_text(request, rng, steps), request.stops))
        is_cut = limit is not None and len(pieces) > limit
        return Choice(tuple(pieces[:limit]), (), "length" if is_cut else "stop")
    calls: list[ToolCall] = []
    for position, tool in enumerate(tools):
        if limit is not None and limit <= 0:
            break
        call_id = hashlib.sha256(f"{request.digest}:{at}:{position}".encode()).hexdigest()[:24]
        pieces = split_pieces(_instance_text(tool.parameters, rng, steps, f"function '{tool.name}'", tool.param))
        calls.append(ToolCall(f"call_{call_id}", tool.name, tuple(pieces[:limit])))
        if limit is not None:
            limit -= len(pieces)
    if limit is not None and (limit < 0 or len(calls) < len(tools)):
        return Choice((), tuple(calls), "length")
    # OpenAI says "stop", not "tool_calls", where the caller named the function.
    return Choice((), tuple(calls), "stop" if request.mode == "named" else "tool_calls")


def _text(request: SimulatedRequest, rng: random.Random, steps: Steps) -> str:
    if request.so_far:
        return rest_text(request.model, request.so_far)
    prose = answer_text(request.model, request.question, request.tool_result, rng)
    if request.schema is None:
        return prose
    if request.schema is True:
        return compact({"simulated": True, "model": request.model, "answer": prose})
    return _instance_text(request.schema, rng, steps, "response_format", "response_format")


def _instance_text(schema: object, rng: random.Random, steps: Steps, what: str, param: str) -> str:
    try:
        return compact(instance(schema, rng, steps))
    except TooComplexError as error:
        message = f"Invalid schema for {what}: {error}."
        raise BadRequestError(message, param=param, code="invalid_json_schema") from error
