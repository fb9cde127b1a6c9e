from hashlib import sha256

import pytest

from proxy.call import Answer, Call, Principal
from proxy.chain.auth import Auth
from proxy.chain.catalogue import Catalogue, Model
from proxy.errors import GatewayError, InvalidKey, ModelNotAllowed, ModelNotFound
from proxy.keyring import Keyring
from tests.calls import PATIENCE, a_call

KEY = b"sk-way-0123456789"
PRINCIPAL = Principal("search", "ci", frozenset({"chat"}), expires_at=100.0)
CATALOGUE = Catalogue([Model("chat", ("default",), PATIENCE, 15, ()), Model("large", (), PATIENCE, 15, ())])


async def authenticate(call: Call, now: float = 0.0) -> Call:
    async def accept(call: Call) -> Answer:
        return Answer(200, (), "upstream")

    layer = Auth(Keyring({sha256(KEY).digest(): PRINCIPAL}), CATALOGUE, lambda: now)
    assert (await layer(call, accept)).status == 200
    return call


async def test_a_good_key_names_the_principal_and_the_model_behind_the_alias() -> None:
    call = await authenticate(a_call("default", headers={b"authorization": b"Bearer " + KEY}, principal=None))
    assert call.principal is PRINCIPAL
    assert call.model == "chat"


@pytest.mark.parametrize(
    ("model", "headers", "now", "error"),
    [
        ("chat", {}, 0, InvalidKey),
        ("chat", {b"authorization": b"Bearer wrong"}, 0, InvalidKey),
        ("chat", {b"authorization": b"Bearer " + KEY}, 100, InvalidKey),
        ("large", {b"authorization": b"Bearer " + KEY}, 0, ModelNotAllowed),
        ("nonsense", {b"authorization": b"Bearer " + KEY}, 0, ModelNotFound),
    ],
)
async def test_whoever_may_not_is_refused_before_anything_else_runs(
    model: str, headers: dict[bytes, bytes], now: float, error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        await authenticate(a_call(model, headers=headers, principal=None), now)
