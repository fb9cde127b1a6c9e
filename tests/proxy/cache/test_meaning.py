import asyncio
import logging
from collections.abc import Callable

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


class Class:
    """Many learn together: what is taught comes back in its turn, or is not heard."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.lessons: list[bytes] = []
        self.is_deaf = is_deaf

    def teach(self, data: bytes, unheard: Callable[[], None]) -> bool:
        if self.is_deaf:
            unheard()
        else:
            self.lessons.append(data)
        return True


async def test_many_who_learn_together_have_learned_the_same() -> None:
    together, both = Class(), [a_meaning(), a_meaning()]
    for one in both:
        one.teach = together.teach
        for number in range(40):
            one.learn(one.calibrator("search", "chat", 0.05), 0.9, "Yes.", "Yes." if number % 4 else "No.")
            await one.settled()
    both[0].complained(both[0].calibrator("search", "chat", 0.05), 0.9)
    assert [one.calibrator("search", "chat", 0.05).judged_count for one in both] == [0, 0]
    for one in both:
        for number, lesson in enumerate(together.lessons):
            one.told(f"{number}-0", lesson)
    ours, theirs = (one.calibrator("search", "chat", 0.05).snapshot() for one in both)
    assert ours == theirs
    assert both[0].notes["place"] == "80-0"
    later = a_meaning(notes=both[0].notes)
    assert later.place == "80-0"
    assert later.calibrator("search", "chat", 0.05).snapshot() == ours


async def test_what_nobody_hears_is_learned_alone() -> None:
    meaning = a_meaning()
    meaning.teach = Class(is_deaf=True).teach
    calibrator = meaning.calibrator("search", "chat", 0.05)
    meaning.complained(calibrator, 0.9)
    assert calibrator.judged_count == 1


@pytest.mark.parametrize(
    "lesson",
    [
        b"",
        b"[]",
        b'["fake","search chat 0.05",2,false,1,0]',
        b'["fake","search chat 0.05",0.9,false,1e9,0]',
        b'["fake","search chat 2",0.9,false,1,0]',
        b'["fake","search",0.9,false,1,0]',
        b'["fake",7,0.9,false,1,0]',
        b'["another embedder","search chat 0.05",0.9,false,1,0]',
    ],
)
async def test_what_is_no_lesson_teaches_nothing(lesson: bytes) -> None:
    meaning = a_meaning()
    calibrator = meaning.calibrator("search", "chat", 0.05)
    meaning.told("7-0", lesson)
    assert (calibrator.judged_count, meaning.place) == (0, "7-0")
