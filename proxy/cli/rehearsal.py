"""A model of one config, and of the config it would replace, tried on the same scene: traffic, faults and luck are the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Final

from proxy.accounting import PriceBook, PriceTable
from proxy.chain import group_of
from proxy.cli.latencies import Latency, assume, latencies, standing_faults
from proxy.config import Config, ModelConfig
from routing import Group
from routing.simulate import CallPolicy, Fault, Profile, Request, span_s, standard
from routing.simulate.trial import (
    Change,
    Scene,
    Tolerance,
    Trial,
    compare,
    objections,
    try_group,
    try_oracle,
)

TOLERANCE: Final = Tolerance()


@dataclass(frozen=True, slots=True)
class Side:
    """One config's model: who plays, and under which rules."""

    settings: ModelConfig
    group: Group
    known: Mapping[str, Latency]  #: by the target's name

    @property
    def profiles(self) -> list[Profile]:
        """Its targets as the simulator plays them."""
        return [self.known[target.name].profile(target) for target in self.group.targets]

    @property
    def policy(self) -> CallPolicy:
        """How the gateway would make its calls; the client's own patience is the simulator's."""
        timeouts, retries = self.settings.timeouts, self.group.retries
        return CallPolicy(
            max_attempts=retries.max_attempts,
            first_token_timeout_s=timeouts.first_token_s,
            objective_s=self.group.objective.ttft_s,
            deadline_s=timeouts.total_s,
            backoff_s=retries.base_s,
            max_backoff_s=retries.max_backoff_s,
            is_rescued=self.settings.rescue,
        )


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """How a model fared, and what is to be said of it."""

    name: str
    side: Side
    new: Trial
    oracle: Trial
    old: Trial | None  #: None: there is nothing to compare with
    change: Change | None
    objections: Sequence[str]  #: in what the new config is worse than tolerated
    notes: Sequence[str]  #: what to know before the figures are believed


class Rehearsal:
    """What all models are tried on."""

    def __init__(
        self,
        new: Config,
        old: Config | None,
        requests: Sequence[Request],
        measured: Mapping[str, Latency],
        seeds: Sequence[int],
        *,
        has_faults: bool,
    ) -> None:
        """`measured`: latencies by the target's name, which go before all others."""
        self._new = new
        self._old = old
        self._requests = requests
        self._measured = measured
        self._seeds = seeds
        self._has_faults = has_faults

    def play(self, name: str) -> ModelTrial:
        """Try a model of the new config; all of the trace is its own. Takes a second or two for 20,000 requests."""
        side, former = self._sides(name)
        notes: list[str] = []
        profiles = [*(former.profiles if former is not None else ()), *side.profiles]
        faults = self._faults({profile.name: profile for profile in profiles}, set(side.known), notes)
        scene = Scene(self._requests, faults, self._seeds)
        new = _try(name, side, scene)
        oracle = try_oracle(side.profiles, scene, side.policy, standing_faults(side.known))
        old = _try(name, former, scene) if former is not None else None
        change = compare(new.summary, old.summary) if old is not None else None
        found = objections(change, TOLERANCE) if change is not None else []
        if self._old is not None and former is None:
            notes.append("the old config has no such model: there is nothing to compare it with")
        return ModelTrial(name, side, new, oracle, old, change, found, [*notes, *_notes(side)])

    def _sides(self, name: str) -> tuple[Side, Side | None]:
        """A target is as fast in both, whoever else is there: what is assumed goes by its rank among all of them."""
        groups = {}
        for config in (self._new, self._old):
            if config is not None and name in config.models:
                now_s = time()
                book = PriceBook(config, PriceTable(), now_s)
                groups[id(config)] = group_of(name, config, book, now_s)
        everybody = {target.name: target for group in reversed(groups.values()) for target in group.targets}
        assumed = assume(everybody.values())

        def side(config: Config) -> Side:
            group = groups[id(config)]
            known = latencies(group.targets, config.providers, self._measured, assumed)
            return Side(config.models[name], group, known)

        has_old = self._old is not None and id(self._old) in groups
        return side(self._new), side(self._old) if self._old is not None and has_old else None

    def _faults(self, profiles: Mapping[str, Profile], mine: set[str], notes: list[str]) -> tuple[Fault, ...]:
        """The standard faults over the targets of both; `notes` takes what to know about them."""
        if not self._has_faults:
            return ()
        if len(profiles) < 2:
            notes.append("one target only: no faults are played, for whatever strikes it strikes every call")
            return ()
        if span_s(self._requests) <= 0:
            notes.append("all requests come at once: no faults are played")
            return ()
        faults = standard(list(profiles.values()), span_s(self._requests))
        if total := [fault.name for fault in faults if mine <= fault.targets]:
            notes.append(f"with so few targets these faults strike all of them at once: {', '.join(total)}")
        if idle := [fault.name for fault in faults if not mine & fault.targets]:
            notes.append(f"these faults strike none of its targets: {', '.join(idle)}")
        return faults


def _try(name: str, side: Side, scene: Scene) -> Trial:
    return try_group(name, side.group, side.profiles, scene, side.policy, standing_faults(side.known))


def _notes(side: Side) -> list[str]:
    notes = []
    if any(one.source == "assumed" for one in side.known.values()):
        notes.append(
            "assumed latencies compare configs and strategies with each other, not with reality; measured ones: save"
            " GET /admin/v1/targets of a gateway that serves them, and give it with --targets"
        )
    if unpriced := [target.name for target in side.group.targets if target.price is None]:
        notes.append(f"no price is known, so it counts as $0 here: {', '.join(unpriced)}")
    if side.settings.fallbacks:
        notes.append("fallbacks are not simulated: what they would have answered counts as a failure")
    return notes
