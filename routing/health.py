"""How one target has fared lately: how soon it begins to answer, whether it answers, whether its streams hold.

The time to the first token is learned over the uncached input. Full durations are no measure of health: fast errors
look like a quick server and long answers like a slow one. But an answer that is not streamed has no first token; how
long those take is learned apart, over the tokens they are made of. Everything fades with time, so that a target that is
left alone is believed to have recovered. Knows nothing of prices and limits.
"""

from __future__ import annotations

from math import exp, log
from typing import Final

from routing.load import LoadCurve
from routing.tally import Share, Tally
from routing.timing import Timing, p_within

#: Time constants of what is remembered, in seconds.
_SUCCESS_S: Final = 25.0
_RECORD_S: Final = 900.0
#: Of streams, by time and by count: of the last thirty or so, how many were cut?
_CUT_S: Final = 120.0
_CUT_KEPT: Final = 0.97
#: However good the record, so often nothing will ever come: times have longer tails than a log-normal.
_LEAST_SILENT: Final = 0.005
#: Attempts' worth of the long record in the recent one.
_PRIOR_ATTEMPTS: Final = 4.0
#: A target nobody has asked yet begins after 0.8 s, and 0.1 s for a thousand tokens; then it writes 50 tokens a second.
_GUESSED_BASE_S: Final = 0.8
_GUESSED_PER_KTOK_S: Final = 0.1
_GUESSED_PER_HUNDRED_S: Final = 2.0
#: A token that is read takes about so much of the time of one that is written.
_READ: Final = 0.01


class Health:
    """One target's. Times are monotonic seconds."""

    __slots__ = (
        *("_at", "_cut_at", "_cuts", "_failed", "_first", "_lasted", "_ok", "_record_failed", "_record_ok", "_whole"),
        *("_last_ok", "_late", "_load", "_record_late", "_tally", "samples"),
    )

    def __init__(self) -> None:
        self.samples = 0  #: answers seen so far: first tokens, and answers that came whole
        self._first = Timing(_GUESSED_BASE_S, _GUESSED_PER_KTOK_S)
        self._load = LoadCurve()
        self._whole = Timing(_GUESSED_BASE_S, _GUESSED_PER_HUNDRED_S)
        self._at = self._ok = self._failed = self._record_ok = self._record_failed = 0.0
        self._late = self._record_late = 0.0  # of those that count as answered, how many were given up before
        self._last_ok = 1.0  # of the last attempt, whether it was answered: 0..1
        self._cut_at = self._cuts = self._lasted = 0.0
        self._tally: Tally | None = None

    def share(self, tally: Tally) -> None:
        """From now on write there, too, what is learned here."""
        self._tally = tally
        self._first.tally, self._whole.tally = tally.begins, tally.wholes

    @property
    def first_tokens(self) -> int:
        """First tokens seen and timed so far."""
        return self._first.samples

    def usual_ttft_s(self, uncached_tokens: int) -> float:
        """What this target needs to its first token when it is well."""
        return self._first.usual_s(uncached_tokens * 0.001)

    def ratio(self, now: float) -> tuple[float, float]:
        """How soon it begins now against its usual: mean and deviation of the logarithm of the ratio."""
        return self._first.ratio(now)

    def ttft_s(self, uncached_tokens: int, in_flight: int, now: float) -> tuple[float, float]:
        """What it needs to its first token now, as one of so many in flight: the median, and the deviation of the
        logarithm.
        """
        mean, sigma = self._first.ratio(now)
        return self._first.usual_s(uncached_tokens * 0.001) * exp(mean + self._load.log_slowness(in_flight)), sigma

    def was_slow(self, now: float) -> bool:
        """Did it begin late when last heard of, some time ago?"""
        return self._first.was_slow(now)

    def whole_s(self, uncached_tokens: int, output_tokens: float, now: float) -> tuple[float, float]:
        """What an answer that comes whole takes now: the median, and the deviation of the logarithm."""
        mean, sigma = self._whole.ratio(now)
        return self._whole.usual_s(_answer_size(uncached_tokens, output_tokens)) * exp(mean), sigma

    def p_ok(self, now: float) -> float:
        """That an attempt is answered, soon or late: the last half minute, on the record of the last quarter of an
        hour.
        """
        ago = self._at - now
        return _share(self._ok, self._failed, self._record_ok, self._record_failed, ago)

    def p_begins(self, now: float) -> float:
        """That an attempt is answered before it is given up. For those who do not ask how late an answer may begin."""
        ago, late, record_late = self._at - now, self._late, self._record_late
        record_ok, record_failed = self._record_ok - record_late, self._record_failed + record_late
        return _share(self._ok - late, self._failed + late, record_ok, record_failed, ago)

    def p_cut(self, now: float) -> float:
        """That a stream breaks after its first token."""
        kept = exp((self._cut_at - now) / _CUT_S)
        return (self._cuts * kept + 0.004) / ((self._cuts + self._lasted) * kept + 2.0)

    def began_to_answer(self, ttft_s: float, uncached_tokens: int, now: float, in_flight: int = 1) -> float:
        """Learn from a first token; `in_flight` when it was asked for, itself included. Gives its slowness: how many
        times the usual it took.
        """
        self.samples += 1
        mean, _ = self._first.ratio(now)
        factor = exp(self._load.log_slowness(in_flight))
        slowness = factor * self._first.took(ttft_s / factor, uncached_tokens * 0.001, now)
        self._load.learn(log(slowness) - mean, in_flight, now)
        return slowness

    def kept_waiting(self, waited_s: float, uncached_tokens: int, now: float, in_flight: int = 1) -> None:
        """Learn from a first token that had not come after this time: it would have taken longer still."""
        waited_s /= exp(self._load.log_slowness(in_flight))
        self._first.outlasted(waited_s, uncached_tokens * 0.001, now)

    def came_whole(self, duration_s: float, uncached_tokens: int, output_tokens: int, now: float) -> float | None:
        """Learn from an answer that was not streamed. Gives its slowness; None if nobody counted its tokens, which
        says no more than that the target answers.
        """
        self.samples += 1
        if output_tokens <= 0:
            return None
        return self._whole.took(duration_s, _answer_size(uncached_tokens, output_tokens), now)

    def timed_out(self, waited_s: float, uncached_tokens: int, now: float, in_flight: int = 1) -> None:
        """Learn from an attempt that was given up without a first token. It was not answered at all, or only late: a
        long prompt at a slow target says little about whether a short one would be answered. Bayes tells how likely
        each is, and for so much it counts.
        """
        median_s, sigma = self.ttft_s(uncached_tokens, in_flight, now)
        p_silent = max(_LEAST_SILENT, 1.0 - self.p_ok(now))
        p_late = 1.0 - p_silent
        if waited_s > 0:
            p_late *= 1.0 - p_within(waited_s, median_s, sigma)
        self.kept_waiting(waited_s, uncached_tokens, now, in_flight)
        late = p_late / (p_late + p_silent)
        self._ended(late, 1.0 - late, now)
        self._late += late
        self._record_late += late
        if self._tally is not None:
            self._tally.late += late

    def ended(self, is_ok: bool, now: float) -> None:
        """Learn whether an attempt was answered."""
        self._ended(float(is_ok), float(not is_ok), now)

    def _ended(self, ok: float, failed: float, now: float) -> None:
        # Failures in a row are one fault: those of one outage must not pass for the failures of a quarter of an hour.
        record_failed = failed * self._last_ok
        self._last_ok = ok
        self._count(ok, failed, record_failed, now)
        if self._tally is not None:
            self._tally.ok += ok
            self._tally.failed += failed
            self._tally.record_failed += record_failed

    def _count(self, ok: float, failed: float, record_failed: float, now: float) -> None:
        ago = self._at - now
        kept, record_kept = exp(ago / _SUCCESS_S), exp(ago / _RECORD_S)
        self._at = now
        self._ok = self._ok * kept + ok
        self._failed = self._failed * kept + failed
        self._late *= kept
        self._record_ok = self._record_ok * record_kept + ok
        self._record_failed = self._record_failed * record_kept + record_failed
        self._record_late *= record_kept

    def streamed(self, is_cut: bool, now: float) -> None:
        """Learn whether a stream that had begun came to its end."""
        self._count_streams(is_cut, not is_cut, _CUT_KEPT, now)
        if self._tally is not None:
            self._tally.cuts += is_cut
            self._tally.lasted += not is_cut

    def heard(self, share: Share, now: float) -> None:
        """Learn from what others saw, as from what was seen here. What a first token takes at this target when it is
        well, and what its load does, each learns by itself.
        """
        if share.ok or share.failed:
            record_failed = share.record_failed
            if not share.ok:  # an outage that this gateway is in, too, is one fault and not one for each
                record_failed, self._last_ok = min(record_failed, self._last_ok), 0.0
            self._count(share.ok, share.failed, record_failed, now)
            self._late += share.late
            self._record_late += share.late
        if share.cuts or share.lasted:
            self._count_streams(share.cuts, share.lasted, _CUT_KEPT ** (share.cuts + share.lasted), now)
        if share.begins > 0:
            self._first.heard(share.begins, share.begins_sum, share.begins_squares, now)
        if share.wholes > 0:
            self._whole.heard(share.wholes, share.wholes_sum, share.wholes_squares, now)

    def _count_streams(self, cuts: float, lasted: float, kept: float, now: float) -> None:
        kept *= exp((self._cut_at - now) / _CUT_S)
        self._cut_at = now
        self._cuts = self._cuts * kept + cuts
        self._lasted = self._lasted * kept + lasted


def _share(ok: float, failed: float, record_ok: float, record_failed: float, ago: float) -> float:
    """Of the last attempts that were answered; `ago`: seconds since these counts were brought up to date, negative."""
    record_kept = exp(ago / _RECORD_S)
    record_ok, record_failed = record_ok * record_kept, record_failed * record_kept
    record = (record_ok + 10.0) / (record_ok + record_failed + 10.05)
    kept = exp(ago / _SUCCESS_S)
    return (ok * kept + _PRIOR_ATTEMPTS * record) / ((ok + failed) * kept + _PRIOR_ATTEMPTS)


def _answer_size(uncached_tokens: int, output_tokens: float) -> float:
    """What the time of a whole answer grows with: hundreds of tokens to write, and a hundredth of those to read."""
    return (output_tokens + _READ * uncached_tokens) * 0.01
