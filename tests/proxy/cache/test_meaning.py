import asyncio
import logging

import orjson
import pytest

from proxy.cache.meaning import Meaning, open_meaning
from proxy.cache.nearest import LookupFailed
from tests.meanings import FakeEmbedder, FakeIndex, FakeJudge, a_meaning, prove

SCOPE = b"s" * 32


def add(meaning: Meaning, text: str, entry_id: bytes = b"1") -> None:
    meaning.index.add(SCOPE, entry_id, text, None, team="search", expires_at=1e9, now=0.0)


async def test_a_look_up_gives_what_matches() -> None:
    meaning = a_meaning()
    assert (await meaning.look(SCOPE, "what about cats", 0.0)).match is None
    add(meaning, "tell me of cats")
    match = (await meaning.look(SCOPE, "what about cats", 0.0)).match
    assert match is not None
    assert (match.entry_id, match.probability) == (b"1", 0.99)


async def test_a_look_up_that_fails_says_why() -> None:
    meaning = a_meaning(index=FakeIndex(embedder=FakeEmbedder("slow")))
    with pytest.raises(LookupFailed, match="slow"):
        await meaning.look(SCOPE, "what about cats", 0.0)


async def test_answers_that_are_the_same_prove_a_promise_and_others_end_it(caplog: pytest.LogCaptureFixture) -> None:
    meaning = a_meaning()
    calibrator = meaning.calibrator("search", "chat", 0.05)
    assert not calibrator.serves(0.99)
    for _ in range(150):
        meaning.learn(calibrator, 0.99, "Yes.", "Yes.")
        await meaning.settled()
    assert calibrator.serves(0.99)
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            meaning.learn(calibrator, 0.99, "No.", "Yes.")
            await meaning.settled()
    assert not calibrator.serves(0.99)
    assert meaning.judged == 200
    assert "5% of hits" in caplog.text


async def test_what_cannot_be_told_apart_teaches_nothing() -> None:
    meaning = a_meaning()
    calibrator = meaning.calibrator("search", "chat", 0.05)
    meaning.learn(calibrator, 0.99, "Is it?", "Yes.")
    await meaning.settled()
    assert (meaning.judged, meaning.untold, calibrator.judged_count) == (0, 1, 0)


async def test_comparisons_do_not_pile_up() -> None:
    meaning = a_meaning()
    for _ in range(50):
        meaning.learn(meaning.calibrator("search", "chat", 0.05), 0.99, "No.", "Yes.")
    await meaning.settled()
    assert meaning.judged == 4


async def test_a_comparison_without_vectors_is_left_out() -> None:
    meaning = a_meaning(index=FakeIndex(embedder=FakeEmbedder("busy")))
    meaning.learn(meaning.calibrator("search", "chat", 0.05), 0.99, "No.", "Yes.")
    await meaning.settled()
    assert (meaning.judged, meaning.untold) == (0, 0)


async def test_what_was_learned_survives_in_notes() -> None:
    meaning = a_meaning()
    prove(meaning.calibrator("search", "chat", 0.05))
    notes = orjson.loads(orjson.dumps(meaning.notes))
    assert a_meaning(notes=notes).calibrator("search", "chat", 0.05).serves(0.99)
    assert not a_meaning(notes=notes).calibrator("search", "mini", 0.05).serves(0.99)
    assert not a_meaning(notes={"search chat 0.05": "nonsense"}).calibrator("search", "chat", 0.05).serves(0.99)


async def test_teams_models_and_promises_learn_apart() -> None:
    meaning = a_meaning()
    assert meaning.calibrator("search", "chat", 0.05) is not meaning.calibrator("sales", "chat", 0.05)
    assert meaning.calibrator("search", "chat", 0.05) is meaning.calibrator("search", "chat", 0.05)
    assert meaning.calibrator("search", "chat", 0.05) is not meaning.calibrator("search", "chat", 0.02)
    assert meaning.calibrator("search", "chat", 0.05) is not meaning.calibrator("search", "mini", 0.05)


async def test_closing_gives_up_what_is_being_learned() -> None:
    index = FakeIndex()
    meaning = a_meaning(FakeJudge(), index)
    meaning.learn(meaning.calibrator("search", "chat", 0.05), 0.99, "No.", "Yes.")
    await meaning.aclose()
    assert index.is_closed
    assert meaning.judged == 0


async def test_the_real_one_finds_another_wording_and_no_other_question() -> None:
    meaning = await open_meaning(10**7, None, b"no json at all")
    meaning.index.wait_s = 10.0
    try:
        for number, text in enumerate(("How do I reset my password?", "How do I cancel my subscription?")):
            add(meaning, text, b"%d" % (number + 1))
            while meaning.index.stats.entries <= number:
                await asyncio.sleep(0.001)
        same = (await meaning.look(SCOPE, "How can I reset my password?", 0.0)).match
        other = (await meaning.look(SCOPE, "How do I not cancel my subscription?", 0.0)).match
    finally:
        await meaning.aclose()
    assert same is not None
    assert same.entry_id == b"1"
    assert same.probability > 0.5
    assert other is None or other.probability < 0.5


async def test_what_was_learned_of_another_embedders_vectors_is_nothing() -> None:
    meaning = a_meaning()
    prove(meaning.calibrator("search", "chat", 0.05))
    index = FakeIndex(embedder=FakeEmbedder(id="another"))
    assert not a_meaning(index=index, notes=meaning.notes).calibrator("search", "chat", 0.05).serves(0.99)
