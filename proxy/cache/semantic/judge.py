"""Of all that is near to a question, the one whose answer would be right for it, and how sure that is. For the thread
of the look-up by meaning: it needs numpy, and takes a millisecond.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.cache.nearest import Candidate, Found
from proxy.cache.semantic.answers import same_answer
from proxy.cache.semantic.facts import Facts
from proxy.cache.semantic.guards import Veto
from proxy.cache.semantic.verify import Verifier

#: So many of the nearest are judged: 0.2 ms each where nothing is known of the text yet.
_JUDGED: Final = 8
#: What is further away is about something else. The verifier has learned from near pairs alone, and gives half of all
#: unrelated ones more than 0.5. Of the 1,700 labelled pairs of one answer to which it gives that much, none is below.
_LEAST_COSINE: Final = 0.45
#: Facts are kept of so much text, in characters: they take 100 to 350 B for each.
_REMEMBERED_CHARS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Match:
    """The candidate that is most likely right."""

    entry_id: bytes
    text: str  #: the question that it was the answer to
    probability: float  #: that it is right for the one asked; 0 if guards object
    cosine: float
    vetoes: tuple[Veto, ...]  #: the guards that object


class Judge:
    """For one thread."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._facts: OrderedDict[str, Facts] = OrderedDict()
        self._known_chars = 0

    def threshold(self, max_error: float) -> float:
        """See `Verifier.threshold`. For any thread."""
        return self._verifier.threshold(max_error)

    def match(self, text: str, found: Found) -> Match | None:
        """The best of them, or the nearest where guards object to all; None if there is nothing."""
        candidates = self._worth_it(found.candidates)
        if not candidates:
            return None
        asked = self._known(text)
        verdicts = self._verifier.judge(asked, [(self._known(one.text), one.cosine) for one in candidates])
        best = max(range(len(candidates)), key=lambda at: (verdicts[at].probability, candidates[at].cosine))
        one, verdict = candidates[best], verdicts[best]
        return Match(one.entry_id, one.text, verdict.probability, one.cosine, verdict.vetoes)

    def same(self, fresh: str, cached: str, cosine: float) -> bool | None:
        """See `answers.same_answer`."""
        return same_answer(fresh, cached, cosine, self._verifier.words)

    def _worth_it(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The nearest by meaning, and what is near by words among the rest."""
        candidates = [one for one in candidates if one.cosine >= _LEAST_COSINE]
        near, rest = candidates[: _JUDGED // 2], candidates[_JUDGED // 2 :]
        return [*near, *sorted(rest, key=lambda one: not one.is_lexical)[: _JUDGED - len(near)]]

    def _known(self, text: str) -> Facts:
        facts = self._facts.get(text)
        if facts is None:
            facts = self._facts[text] = self._verifier.facts(text)
            self._known_chars += len(text)
            while self._known_chars > _REMEMBERED_CHARS:
                self._known_chars -= len(self._facts.popitem(last=False)[0])
        else:
            self._facts.move_to_end(text)
        return facts


def load_judge() -> Judge:
    """The one that comes with the package. 10 ms."""
    return Judge(Verifier.load())
