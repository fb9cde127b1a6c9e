"""The cache by meaning, as the chain sees it: what is near to a question and how sure it is, and what is learned of
that when a fresh answer can be held against the cached one.

Nothing here decides what is served: that is the calibrator's, which is told what became of its earlier decisions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

import orjson

from proxy.cache.nearest import Found, LookupFailed, Remote, open_index
from proxy.cache.nearest.base import Vector
from proxy.cache.semantic.calibrate import Calibrator, Lesson

if TYPE_CHECKING:
    from proxy.cache.nearest.index import Index
    from proxy.cache.semantic.judge import Judge, Match

#: How long a call waits for its look-up, in seconds, those before it and the vector included; longer where a provider
#: makes the vectors. The search itself has a bound of its own.
PATIENCE_S: Final = 0.05
REMOTE_PATIENCE_S: Final = 0.25
#: Comparisons of answers that may be under way; what comes beyond is not compared.
_MAX_LEARNING: Final = 4
#: So much of an answer is compared by meaning, in characters: it takes 2 ms. The rest counts by its words and figures.
_COMPARED_CHARS: Final = 200
#: How long a comparison waits for look-ups to be done first, in seconds, and how often it asks.
_POLL_S: Final = 0.01
_MAX_POLLS: Final = 500
#: By whose vectors it was learned, among the notes. No model and promise look like that.
_EMBEDDER: Final = "embedder"
#: And up to which lesson. The same.
_PLACE: Final = "place"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look-up came to."""

    vector: Vector | None  #: of the question, for when its own answer is kept
    match: Match | None  #: None: there is nothing near


class Meaning:
    """For the event loop. Outlives worlds."""

    def __init__(self, index: Index, judge: Judge, notes: Mapping[str, object] | None = None) -> None:
        """`notes`: what an earlier one had learned, see `notes`."""
        self.index = index
        self._judge = judge
        # What was learned of the cosines of one embedder says nothing of those of another.
        known = notes is not None and notes.get(_EMBEDDER) == index.embedder.id
        self._notes = dict(notes or {}) if known else {}
        self.calibrators: dict[str, Calibrator] = {}  #: by team, model and promise
        self.place = str(self._notes.get(_PLACE) or "")  #: of the last lesson that is taken, where many learn together
        #: Tells a lesson to all who learn together, this one included, and what to do if it can't be told; False:
        #: there is nobody else. None: the same.
        self.teach: Callable[[bytes, Callable[[], None]], bool] | None = None
        self._learning: set[asyncio.Task[None]] = set()
        self._looking = 0  # look-ups that are under way
        self.judged = 0  #: pairs of answers that were compared and told apart or not
        self.untold = 0  #: those of which nothing could be said

    async def look(self, scope_key: bytes, text: str, now: float) -> Seen:
        """What is near to this question. `now`: Unix time in seconds. Raises LookupFailed."""
        judge = self._judge

        def then(found: Found) -> Seen:
            return Seen(found.vector, judge.match(text, found))

        self._looking += 1
        try:
            return await self.index.nearest_then(scope_key, text, now, then)
        finally:
            self._looking -= 1

    def calibrator(self, team: str, model: str, max_error: float) -> Calibrator:
        """Of this team, model and promise; made when it is asked for first. Teams learn apart: what one of them asks
        must not loosen what another is served.
        """
        name = f"{team} {model} {max_error:g}"  # no name has a blank
        found = self.calibrators.get(name)
        if found is None:
            found = Calibrator(max_error, self._judge.threshold(max_error), name)
            known = self._notes.get(name)
            if isinstance(known, dict):
                found.restore(known)
            self.calibrators[name] = found
        return found

    @property
    def notes(self) -> dict[str, object]:
        """What was learned, for a later process: by team, model and promise."""
        learned = {name: one.snapshot() for name, one in self.calibrators.items()}
        return {**self._notes, **learned, _EMBEDDER: self.index.embedder.id, _PLACE: self.place}

    def complained(self, calibrator: Calibrator, probability: float) -> None:
        """A user says that a hit was wrong, which was thought to be right with this probability."""
        self._tell(calibrator, calibrator.weigh_complaint(probability))

    def told(self, place: str, data: bytes) -> None:
        """A lesson, and its place among those of all who learn together. What can't be read teaches nothing."""
        self.place = place
        try:
            embedder, name, probability, is_same, weight, staked = orjson.loads(data)
            team, model, max_error = name.split(" ")
            lesson = Lesson(float(probability), bool(is_same), float(weight), float(staked))
            promise = float(max_error)
        except (ValueError, TypeError, AttributeError):
            return
        is_sound = 0 <= lesson.probability <= 1 and 0 <= lesson.weight <= 1 and 0 <= lesson.staked <= 1
        if embedder == self.index.embedder.id and is_sound and 0 < promise < 1:
            self._take(self.calibrator(team, model, promise), lesson)

    def learn(
        self, calibrator: Calibrator, probability: float, fresh: str, cached: str, *, is_served: bool = True
    ) -> None:
        """Soon: was the cached answer as good as the fresh one? The calibrator is told, see `Calibrator.judged`."""
        if len(self._learning) >= _MAX_LEARNING:
            return
        task = asyncio.get_running_loop().create_task(self._learn(calibrator, probability, fresh, cached, is_served))
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    async def settled(self) -> None:
        """Returns when all that is being learned now is."""
        if self._learning:
            await asyncio.wait([*self._learning])

    async def aclose(self) -> None:
        """Let go of all of it."""
        for task in [*self._learning]:
            task.cancel()
        await self.settled()
        await self.index.aclose()

    async def _quiet(self) -> None:
        """Returns when no look-up is under way, or after a while all the same."""
        for _ in range(_MAX_POLLS):
            if not self._looking:
                return
            await asyncio.sleep(_POLL_S)

    async def _learn(
        self, calibrator: Calibrator, probability: float, fresh: str, cached: str, is_served: bool
    ) -> None:
        vectors: list[Vector] = []
        try:
            for text in (fresh, cached):  # one by one, so that a look-up waits for no more than one
                await self._quiet()
                await self.index.embedder.embed_then([text[:_COMPARED_CHARS]], lambda found: vectors.append(found[0]))
            cosine = float(vectors[0] @ vectors[1])
            is_same = await asyncio.to_thread(self._judge.same, fresh, cached, cosine)
        except LookupFailed:
            return
        if is_same is None:
            self.untold += 1
            return
        self.judged += 1
        self._tell(calibrator, calibrator.weigh(probability, is_same, is_served=is_served))

    def _tell(self, calibrator: Calibrator, lesson: Lesson) -> None:
        """Where many learn together, what this one has learned comes back to it in its turn."""
        data = orjson.dumps((self.index.embedder.id, calibrator.name, *lesson))
        if self.teach is None or not self.teach(data, lambda: self._take(calibrator, lesson)):
            self._take(calibrator, lesson)

    def _take(self, calibrator: Calibrator, lesson: Lesson) -> None:
        before = calibrator.threshold
        calibrator.take(lesson)
        if calibrator.threshold != before:
            now = calibrator.threshold
            _logger.warning(
                "cache by meaning: so that at most %g%% of hits are wrong, %s",
                100 * calibrator.max_error,
                f"what is served must be right with a probability of {now:.3f}" if now <= 1 else "nothing is served",
            )


#: Makes one: given the room in memory, who makes vectors elsewhere (None: nobody), and what was learned before.
OpenMeaning = Callable[[int, Remote | None, bytes | None], Awaitable["Meaning"]]


async def open_meaning(budget_bytes: int, remote: Remote | None, notes: bytes | None) -> Meaning:
    """Loads the models: 1 s, on a thread. Raises whatever goes wrong with that."""
    index = await open_index(budget_bytes, PATIENCE_S if remote is None else REMOTE_PATIENCE_S, remote)
    judge: Judge = await asyncio.to_thread(_load_judge)
    return Meaning(index, judge, _read(notes))


def _load_judge() -> Judge:
    judge: Judge = import_module("proxy.cache.semantic.judge").load_judge()
    return judge


def _read(notes: bytes | None) -> Mapping[str, object]:
    """Nothing if they are damaged: what was learned is learned again."""
    try:
        known = orjson.loads(notes or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return known if isinstance(known, dict) else {}
