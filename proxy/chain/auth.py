"""Who calls, and may it use this model? Everything after this layer can rely on `call.principal` and `call.model`."""

from __future__ import annotations

from collections.abc import Callable

from proxy.call import Answer, Call, Handler, Principal
from proxy.chain.catalogue import Catalogue
from proxy.keyring import Keyring


class Auth:
    """Refuses a call without a good key, or for a model its team may not use; no other layer has run by then."""

    def __init__(self, keyring: Keyring[Principal], catalogue: Catalogue, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` gives Unix time in seconds: keys expire by the calendar."""
        self._keyring = keyring
        self._catalogue = catalogue
        self._wall_clock = wall_clock

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Name the principal and the model, then go on. Raises InvalidKey, ModelNotFound, ModelNotAllowed."""
        call.principal = self._keyring.find(call.headers, self._wall_clock())
        call.model = self._catalogue.resolve(call.request.model, call.principal).name
        return await next(call)
