"""The words of a simulated answer, and how they fall into pieces the size of tokens."""

from __future__ import annotations

import random
import re
from typing import Final

_SENTENCES: Final = (
    "No model was asked, so take nothing here as advice.",
    "The request travelled through the same path as a real one.",
    "Add a provider key to the configuration to hear a real model.",
    "Timing and token counts are made to look plausible.",
    "The same request always gets the same words.",
    "Streaming, tools and structured output work here as well.",
    "Faults can be switched on to watch the gateway fail over.",
    "Nothing of this was sent to a third party.",
    "The words were chosen by a digest of your messages.",
    "Real answers will be longer and, one hopes, wiser.",
)
_QUOTED_CHARS: Final = 60
#: A space clings to the word after it, as in common tokenizers; six letters are about the length of a token in English.
_PIECE: Final = re.compile(r"\s?\w{1,6}|\s?[^\w\s]{1,3}|\s+")


def answer_text(model: str, question: str, tool_result: str | None, rng: random.Random) -> str:
    """Some 30 to 80 pieces of friendly prose that say where they come from."""
    lead = f"This is a simulated answer from {model}."
    if tool_result is not None:
        lead += f' The tool returned "{_quoted(tool_result)}".'
    elif question:
        lead += f' You wrote "{_quoted(question)}".'
    return " ".join([lead, *rng.sample(_SENTENCES, rng.choice((2, 3)))])


def rest_text(model: str, so_far: str) -> str:
    """The rest of an answer that another simulated provider was cut off in: its sentence, and who ended it."""
    begun = so_far.rpartition(". ")[2]
    sentence = next((sentence for sentence in _SENTENCES if sentence.startswith(begun)), begun + "…")
    return f"{sentence[len(begun) :]} From here on {model} answered: the stream of another one was cut."


def _quoted(text: str) -> str:
    words = " ".join(text.split())
    if len(words) <= _QUOTED_CHARS:
        return words
    return words[:_QUOTED_CHARS].rsplit(" ", 1)[0] + "…"


def split_pieces(text: str) -> list[str]:
    """Pieces that join to the text again, each about as long as a token."""
    return _PIECE.findall(text)


def cut_at_stop(text: str, stops: tuple[str, ...]) -> str:
    """The text before the first stop sequence in it."""
    found = [at for at in map(text.find, stops) if at >= 0]
    return text[: min(found)] if found else text
