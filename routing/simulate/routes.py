"""What the simulator asks of a router, and the rules under which it makes calls for it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from routing.types import Candidate, Facts, Outcome, Plan


class Routes(Protocol):
    """A router as the simulator drives it. Times are seconds since the trace began; they never go back."""

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """Candidates, best first: the first is asked. `facts.tried` names what this call asked already."""
        ...

    def began(self, target: str, facts: Facts, now: float) -> None:
        """An attempt is being sent; exactly one `observe` follows for it."""
        ...

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        """After how many seconds without a first token an attempt is dropped where another target may be asked, if
        that is sooner than the policy's own time-out; inf: it never is.
        """
        ...

    def first_token(self, target: str, sent_at: float, now: float) -> None:
        """The first token of an attempt has come; `Outcome.is_ttft_told` will say so."""
        ...

    def observe(self, outcome: Outcome, now: float) -> None:
        """An attempt ended, however that came."""
        ...

    def gave_up(self, facts: Facts, now: float) -> None:
        """A call has failed for good: it began nowhere, and nobody else is asked."""
        ...

    def may_retry(self, facts: Facts, now: float) -> bool:
        """Whether the retry budget allows another attempt of this call. Asked once for each retry; a True spends."""
        ...

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        """A second target to race from now on, and if none, in how many seconds to ask again (None: never).

        Asked as soon as an attempt is sent, and then as often as it wishes, until the first token comes.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How calls are made, whatever the router. Raises ValueError for no attempts, or a time that is no time."""

    max_attempts: int = 4  #: first try, retries and hedges together
    first_token_timeout_s: float = 5.0  #: an attempt that has not begun to answer by then is dropped
    patience_s: float = 30.0  #: a client that has seen nothing by then leaves
    objective_s: float = 2.0  #: the first token is wanted by then; what routers are told as `first_token_at`
    deadline_s: float = 120.0  #: an answer that is not complete by then is dropped
    backoff_s: float = 0.1  #: upper bound of the wait before the second retry; it doubles with each
    max_backoff_s: float = 2.0
    is_rescued: bool = False  #: whether the rest of a cut answer is asked for elsewhere

    def __post_init__(self) -> None:
        times = (self.first_token_timeout_s, self.patience_s, self.objective_s, self.deadline_s)
        if self.max_attempts < 1 or min(times) <= 0 or min(self.backoff_s, self.max_backoff_s) < 0:
            raise ValueError(f"a call needs at least one attempt, and times above 0 to make it in: {self}")
