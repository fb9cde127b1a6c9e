"""What a call may cost at most, before anybody is asked: at the dearest target that it can come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from proxy.accounting.cost import Tariff

_PICO = 1000  # to a nano-dollar


class Ceiling:
    """The dearest of several tariffs, as if they were one."""

    def __init__(self, tariffs: Callable[[], Iterable[Tariff | None]]) -> None:
        """`tariffs` gives those in force; None is one that nobody knows, and counts as nothing."""
        self._tariffs = tariffs
        self._until_s = -inf
        self._input = self._output = self._per_call = 0  # pico-dollars a token, a token, a call
        self._steps: list[tuple[int, int, int]] = []  # above how many input tokens, dearer ones

    def nusd(self, input_tokens: int, output_tokens: int, now_s: float) -> int:
        """The bound for one attempt with so many tokens, in nano-dollars. `now_s` is Unix time. Cost: 0.2 µs."""
        if now_s >= self._until_s:
            self._look(now_s)
        of_input, of_output = self._input, self._output
        for above_tokens, dearer_input, dearer_output in self._steps:
            if input_tokens > above_tokens:
                of_input, of_output = max(of_input, dearer_input), max(of_output, dearer_output)
        return -(-(input_tokens * of_input + output_tokens * of_output + self._per_call) // _PICO)

    def _look(self, now_s: float) -> None:
        self._until_s, self._steps = inf, []
        self._input = self._output = self._per_call = 0
        for tariff in self._tariffs():
            if tariff is None:
                continue
            self._until_s = min(self._until_s, tariff.until_s)
            self._per_call = max(self._per_call, _pico(tariff.per_call, tariff.unit))
            for above_tokens, of_input, of_output in tariff.dearest:
                step = above_tokens, _pico(of_input, tariff.unit), _pico(of_output, tariff.unit)
                if above_tokens < 0:
                    self._input, self._output = max(self._input, step[1]), max(self._output, step[2])
                else:
                    self._steps.append(step)
        if self._until_s <= now_s:  # the clock is behind: look again with the next call
            self._until_s = -inf


def _pico(amount: int, unit: int) -> int:
    """Units of a tariff in pico-dollars, rounded up."""
    return -(-amount * _PICO // unit)
