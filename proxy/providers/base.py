"""What the chain asks of a provider, whatever dialect it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from proxy.wire.answer import ChatAnswer
from proxy.wire.chat import ChatRequest
from proxy.wire.usage import Usage
from routing import RateLimits


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for one attempt, in seconds; None waits without end."""

    connect_s: float | None
    first_token_s: float | None  #: from sending a streaming request to its first event
    idle_s: float | None  #: between two pieces of an answer; comments don't count as pieces
    total_s: float | None


class ChatStream(Protocol):
    """A streamed answer whose first event has come and is no error."""

    limits: RateLimits | None  #: what its headers said of the provider's limits
    goes_on_exactly: bool  #: does it begin just where `ChatRequest.text_so_far` ends?
    credential_id: str  #: which of the provider's credentials was used

    @property
    def id(self) -> object:
        """What the provider calls this answer; whatever stood in that place."""
        ...

    @property
    def service_tier(self) -> object:
        """What the provider says how it was served; whatever stood in that place."""
        ...

    @property
    def produced_tokens(self) -> int:
        """Output tokens that have come so far, by our own rough count."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the provider reported so far; complete once the blocks have ended."""
        ...

    def __aiter__(self) -> Self:
        """The answer's blocks in the client's dialect, [DONE] included, once."""
        ...

    async def __anext__(self) -> bytes:
        """The next block. Raises UpstreamFailure where the stream breaks."""
        ...

    async def aclose(self) -> None:
        """Let go of the provider: its connection returns to the pool if the answer was read to its end, else it is
        closed at once. Never raises, may be called twice.
        """
        ...


class Provider(Protocol):
    """One configured provider. Both calls raise UpstreamFailure, and let go of the connection when they do or are
    cancelled.
    """

    name: str

    async def answer(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer:
        """The whole answer. `model` is the provider's own name for it."""
        ...

    async def open_stream(self, model: str, request: ChatRequest, patience: Patience) -> ChatStream:
        """A stream, once its first event is there."""
        ...

    def standings(self) -> Sequence[tuple[str, str]]:
        """Each credential, by its id, and how it stands: `usable`, `cooling` or `parked`."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
