"""How many workers there should be, and which of them should go: the decisions of their parent. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.observe import WorkerState

#: How long a worker may take to become ready, and how long it may give no sign of life, in seconds.
READY_WITHIN_S: Final = 30.0
SILENT_AT_MOST_S: Final = 30.0
#: A worker that ended sooner than this after its start did not do well, in seconds.
_SETTLED_S: Final = 10.0
#: How long to wait with the next one after so many in a row that did not do well, in seconds.
_PAUSES_S: Final = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Hand:
    """One worker, as its parent sees it. Times are in monotonic seconds."""

    slot: int
    generation: int  #: of the config that it was started for
    started_s: float
    state: WorkerState
    beat_s: float  #: its last sign of life
    leave_by_s: float | None = None  #: None: nobody told it to leave


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done now."""

    start: int = 0  #: so many new ones
    leave: tuple[int, ...] = ()  #: slots of those to be told to leave
    kill: dict[int, str] = field(default_factory=dict)  #: by slot, why


def decide(
    hands: Collection[Hand], wanted: int, generation: int, now_s: float, *, may_start: bool, attentive_since_s: float
) -> Step:
    """Keep `wanted` workers of this generation, and while older ones are exchanged never fewer that are ready: one
    after the other, a successor is ready before its predecessor is told to leave, and the next one's turn comes when
    that one has left.

    `may_start`: none shall be started for now. `attentive_since_s`: since when the parent has been awake without a
    break; whoever was silent while it slept itself may be all right.
    """
    kill = {hand.slot: reason for hand in hands if (reason := _overdue(hand, now_s, attentive_since_s))}
    leaving = [hand for hand in hands if _leaves(hand)]
    staying = [hand for hand in hands if not _leaves(hand) and hand.slot not in kill]
    if len(staying) < wanted:
        return Step(start=wanted - len(staying) if may_start else 0, kill=kill)
    if any(hand.state != "ready" for hand in staying):
        return Step(kill=kill)
    stale = sorted((hand for hand in staying if hand.generation != generation), key=lambda hand: hand.started_s)
    if len(staying) > wanted:
        surplus = stale or sorted(staying, key=lambda hand: hand.started_s)
        return Step(leave=(surplus[0].slot,), kill=kill)
    return Step(start=int(bool(stale) and not leaving and may_start), kill=kill)


def pause_s(failures: int) -> float:
    """How long to wait with the next start after so many failures in a row, in seconds: at first not at all."""
    return _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]


def did_well(hand: Hand, now_s: float) -> bool:
    """Whether a worker that has just ended had been at work for a while."""
    return hand.state != "starting" and now_s - hand.started_s >= _SETTLED_S


def free_slots(taken: Sequence[int], number: int) -> list[int]:
    """The lowest numbers that nobody has."""
    candidates = range(len(taken) + number)
    return [slot for slot in candidates if slot not in taken][:number]


def _leaves(hand: Hand) -> bool:
    """Whether it was told to leave, or does so by itself: a signal was sent to it alone."""
    return hand.leave_by_s is not None or hand.state == "draining"


def _overdue(hand: Hand, now_s: float, attentive_since_s: float) -> str:
    if hand.leave_by_s is not None and now_s > hand.leave_by_s:
        return "it did not end in time"
    if hand.state == "starting" and now_s - max(hand.started_s, attentive_since_s) > READY_WITHIN_S:
        return f"it was not ready within {READY_WITHIN_S:g} s"
    if hand.state != "starting" and now_s - max(hand.beat_s, attentive_since_s) > SILENT_AT_MOST_S:
        return f"it gave no sign of life for {SILENT_AT_MOST_S:g} s"
    return ""
