"""Counts the tokens of prompts: with OpenAI's own tokenizer for OpenAI's models, by ratio for all others. The only file
that knows tiktoken.

Nothing is loaded before the first prompt that needs it, and nobody waits for that: until a tokenizer is there its
models are counted by ratio, and every count says how it was made. tiktoken lets go of Python's lock while it counts,
but not while it is built: loading takes 0.1 s (cl100k_base) or 0.3 s (o200k_base) on a thread of its own, and for half
of that it stops the process, event loop and all. That happens once; whoever would not have it under load calls `load`
before there is any. A tokenizer keeps 25 or 47 MB.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import tiktoken

from proxy.accounting.families import Encoding, Family, encoding_for, family_of
from proxy.accounting.prompt import Prompt, read_chat
from proxy.accounting.rankfile import RANKS, BadRankFile, read_ranks
from proxy.accounting.ratios import estimate_tokens

_logger = logging.getLogger(__name__)

#: Up to these sizes (bytes of a request, characters of texts) a prompt is counted on the spot: by tokenizer, by ratio.
#: That takes 0.2 or 0.7 ms of prose, 1 or 6 ms at worst; what is larger goes to a thread.
_COUNTED_HERE: Final = 4_000
_ESTIMATED_HERE: Final = 100_000
#: So much may wait for the thread; what comes on top is counted by ratio. Half a second's work.
_MAX_WAITING: Final = 4_000_000
#: Texts are counted in pieces of at most this many characters. tiktoken's time grows faster than a word that never
#: ends: 1 MB of one letter takes 0.5 s whole, 0.2 s in pieces. And 1 MB of spaces overflows its stack (0.14.0), which
#: raises a BaseException after writing to stderr.
_PIECE_CHARS: Final = 16_384
#: What the declaration of a tool costs beside its texts (see `prompt`).
_TOOL_TOKENS: Final[Mapping[Encoding, int]] = {"o200k_base": 7, "cl100k_base": 10}


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    digest: str  #: SHA-256 of the packed file
    pattern: str  #: how text falls into words, from tiktoken_ext/openai_public.py (MIT)


_VOCABULARIES: Final[Mapping[Encoding, _Vocabulary]] = {
    "cl100k_base": _Vocabulary(
        "3208ff089538356f91190e4abe4f6b1126b65045c189e60d7c5475580d6fc3b9",
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"""
        r"""|\s+(?!\S)|\s""",
    ),
    "o200k_base": _Vocabulary(
        "74c6f5af06dd76707df670b80098f8be24afcd25ffae041f3df869abdcf63f65",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    ),
}


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens, and how that is known."""

    tokens: int
    method: Literal["tokenizer", "ratio"]
    uncounted_parts: int = 0  #: images, audio and files, which are not in `tokens`


class Tokenizer:
    """One encoding, loaded. Pure from then on; for any thread."""

    def __init__(self, encoding: Encoding, folder: Path = RANKS) -> None:
        """Read it from a folder of packed rank files. Raises BadRankFile."""
        vocabulary = _VOCABULARIES[encoding]
        ranks = read_ranks(folder / f"{encoding}.xz", vocabulary.digest)
        # No special tokens: "<|endoftext|>" in a prompt is text, as it is for the API.
        self._encoding = tiktoken.Encoding(
            encoding, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={}
        )
        ranks.clear()  # tiktoken has its own copy, and keeps ours for what we never ask: 15 MB
        self._tool_tokens = _TOOL_TOKENS[encoding]

    def count(self, text: str) -> int:
        """Tokens of a text. Exact up to `_PIECE_CHARS` and where a longer one has spaces; else off by one or two for
        each piece. A lone surrogate counts as U+FFFD. 25 to 50 µs for 1,000 characters of English, 140 of Chinese.
        """
        return sum(len(self._encoding.encode_ordinary(piece)) for piece in split_pieces(text, _PIECE_CHARS))

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Tokens of all texts and of what is around them."""
        tokens = prompt.overhead_tokens + prompt.tools * self._tool_tokens + sum(map(self.count, prompt.texts))
        return TokenCount(tokens, "tokenizer", prompt.uncounted_parts)


def split_pieces(text: str, size: int) -> Iterator[str]:
    """Pieces of at most `size` characters. They end before a single space or the last of a run, if the second half of
    the piece has one: there both encodings end a word whatever stands around it, so that the pieces' tokens are the
    text's.
    """
    at = 0
    while len(text) - at > size:
        end = at + size
        cut = text.rfind(" ", at + size // 2, end)
        while cut > 0 and text[cut + 1].isspace():
            cut = text.rfind(" ", at + size // 2, cut)
        if cut > at:
            end = cut
        yield text[at:end]
        at = end
    yield text[at:]


class TokenCounter:
    """Counts for the whole process: one per gateway, asked from the event loop's thread only."""

    def __init__(self, folder: Path = RANKS) -> None:
        """`folder` holds the packed rank files; it is looked at when they are needed."""
        self._folder = folder
        # One thread: counting takes a core, and the loop needs another. Not the loop's default threads, which resolve
        # host names; and one apart for loading, so that no count waits for it.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="tokens-load")
        self._loads: dict[Encoding, Future[Tokenizer | None]] = {}
        self._waiting = 0

    async def load(self, *encodings: Encoding) -> None:
        """Wait until these are loaded, or known not to be loadable."""
        loads = [asyncio.wrap_future(self._load_soon(encoding)) for encoding in encodings]
        if loads:
            await asyncio.wait(loads)  # which, cancelled, leaves a load that others share alone

    async def count_chat(self, body: Mapping[str, object], model: str, size_bytes: int) -> TokenCount:
        """Tokens of a chat request's prompt for a model, as its provider calls it; `size_bytes`: of the request. Never
        raises, never waits for a tokenizer to load. Let the body alone meanwhile.
        """
        return await self._count(lambda: read_chat(body), model, size_bytes)

    async def count_texts(self, texts: Sequence[str], model: str) -> TokenCount:
        """Tokens of texts, with nothing around them; else as `count_chat`."""
        return await self._count(lambda: Prompt(list(texts)), model, sum(map(len, texts)))

    def close(self) -> None:
        """Drop what waits. What is being counted ends by itself; nobody reads it."""
        for pool in (self._pool, self._loader):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _count(self, read: Callable[[], Prompt], model: str, size: int) -> TokenCount:
        family, encoding = family_of(model), encoding_for(model)
        tokenizer = None if encoding is None else self._loaded(encoding)
        if tokenizer is None or self._waiting + size > _MAX_WAITING:
            return await self._run(lambda: estimate(read(), family), size, _ESTIMATED_HERE)
        return await self._run(lambda: tokenizer.count_prompt(read()), size, _COUNTED_HERE)

    async def _run(self, count: Callable[[], TokenCount], size: int, here: int) -> TokenCount:
        """On the spot up to a size of `here`, else on the thread."""
        if size <= here:
            return count()
        self._waiting += size
        try:
            return await asyncio.wrap_future(self._pool.submit(count))
        finally:
            self._waiting -= size

    def _loaded(self, encoding: Encoding) -> Tokenizer | None:
        load = self._load_soon(encoding)
        return load.result() if load.done() and not load.cancelled() else None

    def _load_soon(self, encoding: Encoding) -> Future[Tokenizer | None]:
        load = self._loads.get(encoding)
        if load is None:
            load = self._loads[encoding] = self._loader.submit(self._load, encoding)
        return load

    def _load(self, encoding: Encoding) -> Tokenizer | None:
        """On the thread, once for each encoding; a failure is said once too."""
        try:
            return Tokenizer(encoding, self._folder)
        except BadRankFile as error:
            _logger.error("tokens of models with the encoding %s are counted by ratio: %s", encoding, error)
            return None


def estimate(prompt: Prompt, family: Family) -> TokenCount:
    """About how many tokens a prompt has, by ratio. Pure; 6 ms for 1 MB of English."""
    overhead = prompt.overhead_tokens + prompt.tools * _TOOL_TOKENS["cl100k_base"]
    return TokenCount(overhead + estimate_tokens("\n".join(prompt.texts), family), "ratio", prompt.uncounted_parts)
