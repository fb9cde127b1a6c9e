"""Which models clients may name, by which names, and what stands behind each. Built once a world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.call import Principal
from proxy.errors import Cause, ModelNotAllowed, ModelNotFound
from proxy.providers import Patience
from routing import RetrySettings

#: For a model that does not exist: its refusal comes long before.
_COMMIT_AFTER_S = 15.0


@dataclass(frozen=True, slots=True)
class Static:
    """A fixed answer."""

    text: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to do when a model fails for that cause: ask another model, give an answer that the cache has for a question
    like it, or a fixed one.
    """

    cause: Cause
    model: str | None
    static: Static | None = None
    is_from_cache: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One configured model."""

    name: str
    aliases: tuple[str, ...]
    patience: Patience
    commit_after_s: float  #: silence after which a stream's 200 and keep-alive comments go out
    fallbacks: tuple[Fallback, ...]
    retries: RetrySettings = field(default_factory=RetrySettings)
    ttft_s: float = 2.0  #: the objective: by then a stream should have begun
    is_chosen: bool = False  #: does routing look at more than whose turn it is?
    is_hedged: bool = False  #: may a second attempt race a silent first one?
    is_rescued: bool = False  #: does a stream that is cut go on at another target?
    least_context: int | None = None  #: tokens; the smallest context that any of its targets has; None: none is known
    has_no_chat: bool = False  #: are there targets for embeddings alone?
    batch_window_s: float = 0.0  #: calls for one embedding wait so long to go together; 0: they don't
    batch_size: int = 64
    counted_as: str = ""  #: its first target's model, as the provider calls it: whose tokenizer prompts are counted by


class Catalogue:
    """Every configured model, by name and by alias."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models: Mapping[str, Model] = {model.name: model for model in models}
        self._named = {name: model for model in models for name in (model.name, *model.aliases)}

    def __getitem__(self, name: str) -> Model:
        """The model of this configured name (no alias). Raises KeyError."""
        return self._models[name]

    def find(self, named: str) -> Model | None:
        """The model of this name or alias, whoever may use it; None if there is none."""
        return self._named.get(named)

    def resolve(self, named: str, principal: Principal) -> Model:
        """The model that a client means by a name or alias. Raises ModelNotFound and ModelNotAllowed. O(1)."""
        model = self._named.get(named)
        if model is None:
            raise ModelNotFound(
                f"The model '{named[:256]}' does not exist here. GET /v1/models lists the models your key may use."
            )
        if not principal.may_use(model.name):
            raise ModelNotAllowed(
                f"Your team may not use the model '{named}'. GET /v1/models lists the models it may use."
            )
        return model

    def commit_after_s(self, named: str) -> float:
        """How long a stream of this model or alias may stay silent before its 200 goes out, in seconds."""
        model = self._named.get(named)
        return _COMMIT_AFTER_S if model is None else model.commit_after_s

    def visible_to(self, principal: Principal) -> list[str]:
        """Every name and alias this caller may use, in the order of the config."""
        return [name for name, model in self._named.items() if principal.may_use(model.name)]
