"""What the look-up by meaning speaks of: vectors, candidates, and why a look-up came to nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]  #: of unit length
    Vectors = NDArray[np.float32]  #: n × dims, each of unit length
else:  # numpy is loaded only where a model has a cache by meaning; nothing but annotations needs it here
    Vector = Vectors = object

T = TypeVar("T")

#: `slow`: it took longer than it may. `busy`: too many wait already. `failed`: the embedder did. `closed`: there is no
#: index any more.
Reason = Literal["slow", "busy", "failed", "closed"]


class LookupFailed(Exception):
    """Nothing was found because nothing could be looked up: a miss, to be counted by its reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry whose text is near, by meaning or by words. Whether it means the same is for others to judge."""

    entry_id: bytes
    text: str
    cosine: float  #: of the two vectors, within 0.002
    is_lexical: bool  #: is it among the nearest by words?


@dataclass(frozen=True, slots=True)
class Found:
    """What one look-up came to."""

    vector: Vector | None  #: of the text; None if its scope was empty, and nothing had to be embedded
    candidates: tuple[Candidate, ...]  #: by cosine, the highest first


@dataclass(frozen=True, slots=True)
class Remote:
    """Vectors from a provider."""

    id: str  #: see `Embedder.id`: provider and model
    dims: int  #: of its vectors; others are refused
    #: Asks for the vectors of some texts, in their order, of any length. Raises GatewayError, and never takes for ever.
    ask: Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How full the index is, and what became of what is not in it any more."""

    entries: int
    scopes: int
    used_bytes: int
    budget_bytes: int
    evicted: int  #: to make room
    expired: int  #: found too old
    dropped: int  #: never came in: there was no vector in time, or no room


class Embedder(Protocol):
    """Turns texts into vectors of which near ones mean nearly the same. Used from the event loop."""

    id: str  #: vectors of embedders with different ids cannot be compared
    dims: int

    async def embed_then(self, texts: Sequence[str], then: Callable[[Vectors], T]) -> T:
        """What `then` makes of the texts' vectors. It is called on the worker's thread, as index work must be, in the
        same job as the embedding where that is done there. Raises LookupFailed.
        """
        ...

    async def aclose(self) -> None:
        """Give up what waits: it raises LookupFailed."""
        ...
