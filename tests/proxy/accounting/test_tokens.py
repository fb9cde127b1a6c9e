import asyncio
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.token_ratios import load_samples
from proxy.accounting.families import Encoding
from proxy.accounting.prompt import Prompt, read_chat
from proxy.accounting.rankfile import RANKS
from proxy.accounting.ratios import upper_bound_tokens
from proxy.accounting.tokens import TokenCount, TokenCounter, Tokenizer, estimate, split_pieces

ANY_TEXT = st.text(st.characters(categories=None) | st.sampled_from(list(" \t\n\r\u00a0'sA1!中é😀\ud800\u0301")))
COOKBOOK = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon "
        "into plain English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities "
        "for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
COOKBOOK_TOOL = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
COOKBOOK_QUESTION = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]


@pytest.fixture(scope="module")
def o200k() -> Tokenizer:
    return Tokenizer("o200k_base")


@pytest.fixture(scope="module")
def cl100k() -> Tokenizer:
    return Tokenizer("cl100k_base")


@pytest.fixture(scope="module", params=["o200k", "cl100k"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def counter() -> Iterator[TokenCounter]:
    counter = TokenCounter()
    yield counter
    counter.close()


def hello(text: str = "Hello") -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


# -- one encoding --


@pytest.mark.parametrize(
    ("text", "cl100k_tokens", "o200k_tokens"),
    [
        ("", 0, 0),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 9, 8),
        ("<|endoftext|>", 7, 7),
        ("\ud800", 1, 1),
    ],
)
def test_known_texts_have_their_known_counts(
    text: str, cl100k_tokens: int, o200k_tokens: int, cl100k: Tokenizer, o200k: Tokenizer
) -> None:
    assert (cl100k.count(text), o200k.count(text)) == (cl100k_tokens, o200k_tokens)


def test_the_cookbooks_messages_have_the_counts_that_the_api_reported(cl100k: Tokenizer, o200k: Tokenizer) -> None:
    prompt = read_chat({"messages": COOKBOOK})
    assert cl100k.count_prompt(prompt) == TokenCount(129, "tokenizer")
    assert o200k.count_prompt(prompt) == TokenCount(124, "tokenizer")


def test_the_cookbooks_tool_has_the_counts_that_the_api_reported(cl100k: Tokenizer, o200k: Tokenizer) -> None:
    tools = [{"type": "function", "function": COOKBOOK_TOOL}]
    prompt = read_chat({"messages": COOKBOOK_QUESTION, "tools": tools})
    assert (cl100k.count_prompt(prompt).tokens, o200k.count_prompt(prompt).tokens) == (105, 101)


def test_the_samples_counts_are_this_tokenizers(cl100k: Tokenizer, o200k: Tokenizer) -> None:
    for sample in load_samples()[::5]:
        assert cl100k.count(sample.text) == sample.counts["cl100k_base"]
        assert o200k.count(sample.text) == sample.counts["o200k_base"]


@given(text=ANY_TEXT)
def test_no_text_has_more_tokens_than_bytes(text: str, tokenizer: Tokenizer) -> None:
    assert tokenizer.count(text) <= upper_bound_tokens(len(text.encode("utf-8", "surrogatepass")))


@given(texts=st.lists(st.text(), max_size=4), role=st.sampled_from(["user", "tool"]))
def test_no_chat_has_more_tokens_than_its_json_has_bytes(texts: list[str], role: str, tokenizer: Tokenizer) -> None:
    body = {"model": "m", "messages": [{"role": role, "content": text, "name": text} for text in texts]}
    assert tokenizer.count_prompt(read_chat(body)).tokens <= upper_bound_tokens(len(orjson.dumps(body)))


@given(first=ANY_TEXT, second=ANY_TEXT)
def test_two_texts_have_together_about_what_they_have_apart(first: str, second: str, tokenizer: Tokenizer) -> None:
    apart = tokenizer.count(first) + tokenizer.count(second)
    assert tokenizer.count(first + second) <= apart + 4


# -- pieces --


@given(text=ANY_TEXT, size=st.integers(2, 12))
def test_pieces_join_to_the_text_and_are_no_larger_than_asked(text: str, size: int) -> None:
    pieces = list(split_pieces(text, size))
    assert "".join(pieces) == text
    assert all(len(piece) <= size for piece in pieces)


@given(words=st.lists(st.text("aé中1!'\t\n ", max_size=3), min_size=1), size=st.integers(14, 20))
def test_a_cut_before_a_space_changes_no_count(words: list[str], size: int, tokenizer: Tokenizer) -> None:
    text = " x ".join(words)  # within half a piece there is always a space before a letter
    assert sum(map(tokenizer.count, split_pieces(text, size))) == tokenizer.count(text)


@pytest.mark.parametrize(("word", "tokens"), [("a", 12_500), (" ", 782), ("-", None)])
def test_an_endless_word_is_counted_within_two_tokens_a_piece(
    word: str, tokens: int | None, tokenizer: Tokenizer
) -> None:
    whole = len(tokenizer._encoding.encode_ordinary(word * 100_000))
    assert tokens is None or whole == tokens
    assert abs(tokenizer.count(word * 100_000) - whole) <= 2 * 7


def test_a_megabyte_of_spaces_does_not_overflow_the_stack(o200k: Tokenizer) -> None:
    assert 0 < o200k.count(" " * 1_000_000) < 1_000_000


# -- the process --


async def test_until_its_tokenizer_is_loaded_a_model_is_counted_by_ratio(counter: TokenCounter) -> None:
    first = await counter.count_chat(hello(), "gpt-4o", 50)
    await counter.load("o200k_base")
    assert first == estimate(read_chat(hello()), "o200k_base")
    assert await counter.count_chat(hello(), "gpt-4o", 50) == TokenCount(8, "tokenizer")


@pytest.mark.parametrize(("size", "thread"), [(4_000, "MainThread"), (4_001, "tokens_0")])
async def test_a_long_prompt_is_counted_on_a_thread(
    size: int, thread: str, counter: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counter.load("cl100k_base")
    seen = []

    def spy(self: Tokenizer, prompt: Prompt) -> TokenCount:
        seen.append(threading.current_thread().name)
        return TokenCount(1, "tokenizer")

    monkeypatch.setattr(Tokenizer, "count_prompt", spy)
    assert (await counter.count_texts(["x" * size], "gpt-4")).tokens == 1
    assert seen == [thread]


async def test_a_long_estimate_is_made_on_a_thread_too(counter: TokenCounter) -> None:
    count = asyncio.ensure_future(counter.count_texts(["word " * 30_000], "mistral-small"))
    await asyncio.sleep(0)
    assert not count.done()
    assert (await count).method == "ratio"


async def test_beyond_the_backlog_prompts_are_counted_by_ratio(counter: TokenCounter) -> None:
    await counter.load("cl100k_base")
    counts = await asyncio.gather(*(counter.count_texts(["word " * 300_000], "gpt-4") for _ in range(3)))
    assert [count.method for count in counts] == ["tokenizer", "tokenizer", "ratio"]
    assert (await counter.count_texts(["word " * 300_000], "gpt-4")).method == "tokenizer"


async def test_a_cancelled_count_leaves_the_backlog(counter: TokenCounter) -> None:
    await counter.load("cl100k_base")
    waiting = [asyncio.ensure_future(counter.count_texts(["word " * 300_000], "gpt-4")) for _ in range(2)]
    await asyncio.sleep(0)
    for count in waiting:
        count.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await counter.count_texts(["word " * 300_000], "gpt-4")).method == "tokenizer"


async def test_many_first_counts_load_once(counter: TokenCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    build = Tokenizer.__init__

    def spy(self: Tokenizer, encoding: Encoding, folder: Path = RANKS) -> None:
        made.append(encoding)
        build(self, encoding, folder)

    monkeypatch.setattr(Tokenizer, "__init__", spy)
    await asyncio.gather(
        *(counter.count_texts(["x"], "gpt-4") for _ in range(20)), *(counter.load("cl100k_base") for _ in range(5))
    )
    assert made == ["cl100k_base"]


async def test_a_cancelled_wait_leaves_the_load_to_others(counter: TokenCounter) -> None:
    waiting = asyncio.ensure_future(counter.load("cl100k_base"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await counter.load("cl100k_base")
    assert (await counter.count_texts(["x"], "gpt-4")).method == "tokenizer"


async def test_a_damaged_rank_file_is_said_once_and_its_models_are_counted_by_ratio(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(RANKS, tmp_path / "ranks")
    (tmp_path / "ranks" / "o200k_base.xz").write_bytes(b"no ranks")
    counter = TokenCounter(tmp_path / "ranks")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await counter.load("o200k_base")
            assert (await counter.count_texts(["x"], "gpt-4o")).method == "ratio"
    counter.close()
    (record,) = caplog.records
    assert "o200k_base.xz is damaged" in record.getMessage()
    assert "install this package again" in record.getMessage()


async def test_a_closed_counter_estimates_what_it_was_loading(counter: TokenCounter) -> None:
    busy = counter.load("o200k_base", "cl100k_base")  # one at a time: the second is dropped
    waiting = asyncio.ensure_future(busy)
    await asyncio.sleep(0)
    counter.close()
    await waiting
    assert (await counter.count_texts(["x"], "gpt-4")).method == "ratio"


def test_other_models_images_are_passed_on_as_uncounted() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}
    assert estimate(read_chat(body), "claude").uncounted_parts == 1


def test_tiktokens_own_data_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken, "get_encoding", None)
    assert Tokenizer("cl100k_base").count("Hello") == 1
