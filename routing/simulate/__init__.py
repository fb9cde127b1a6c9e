"""A model of providers, their faults and their luck, to try routers on recorded traffic: see `simulate`."""

from __future__ import annotations

from collections.abc import Sequence

from routing.simulate.cloud import Cloud
from routing.simulate.engine import Simulation
from routing.simulate.faults import Fault, standard
from routing.simulate.informed import Informed
from routing.simulate.oracle import foresee
from routing.simulate.profiles import Profile, hosted, self_hosted
from routing.simulate.records import CallRecord
from routing.simulate.report import Summary, fault_table, summarize, table
from routing.simulate.routes import CallPolicy, Routes
from routing.simulate.shell import BASELINES, Baseline
from routing.simulate.trace import Request, faster, read, span_s

__all__ = [
    "BASELINES",
    "Baseline",
    "CallPolicy",
    "CallRecord",
    "Cloud",
    "Fault",
    "Informed",
    "Profile",
    "Request",
    "Routes",
    "Simulation",
    "Summary",
    "faster",
    "fault_table",
    "foresee",
    "hosted",
    "read",
    "self_hosted",
    "simulate",
    "span_s",
    "standard",
    "summarize",
    "table",
]


def simulate(
    routes: Routes,
    requests: Sequence[Request],
    profiles: Sequence[Profile],
    faults: Sequence[Fault] = (),
    policy: CallPolicy | None = None,
    seed: int = 0,
    model: str = "chat",
) -> tuple[CallRecord, ...]:
    """Drive a fresh router over a trace: one record for each request, in order. The same arguments, the same result.

    `model` is what every call asks for, as the router knows it. Raises KeyError if the router picks a target that has
    no profile.
    """
    return Simulation(routes, Cloud(profiles, faults, seed), policy or CallPolicy(), seed, model).run(requests)
