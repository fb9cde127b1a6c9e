"""The words that routing and the proxy share. Values only; nothing here decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider: what an attempt is sent to."""

    name: str  #: unique within a world, `provider/model`; safe as a metric label and a header value
    provider: str
    model: str  #: as the provider calls it


@dataclass(frozen=True, slots=True)
class Facts:
    """All that routing may know of a call: never the prompt, never the key."""

    model: str  #: the configured model (not the alias the client used)
    stream: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that may be asked, and why it stands where it stands."""

    target: Target
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates in the order in which to ask them; never empty."""

    strategy: str
    candidates: tuple[Candidate, ...]
