from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from proxy.call import Principal
from proxy.config import AdminConfig, TeamConfig
from proxy.errors import InvalidKey
from proxy.keyring import Keyring, admin_keyring, client_keyring, read_key

KEY = "sk-way-0123456789"
DIGEST = "sha256:" + sha256(b"sk-way-another-key").hexdigest()


def team(**fields: object) -> TeamConfig:
    return TeamConfig.model_validate(fields)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer sk-1"},
        {b"authorization": b"bearer   sk-1 "},
        {b"x-api-key": b"sk-1"},
        {b"api-key": b"sk-1"},
        {b"authorization": b"Bearer sk-1", b"x-api-key": b"sk-1", b"api-key": b"sk-1"},
        {b"authorization": b"Bearer ", b"x-api-key": b"sk-1"},
    ],
)
def test_a_key_is_read_from_any_header_that_carries_it(headers: dict[bytes, bytes]) -> None:
    assert read_key(headers) == b"sk-1"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "No API key"),
        ({b"x-api-key": b" "}, "No API key"),
        ({b"authorization": b"Basic dXNlcg=="}, "Bearer KEY"),
        ({b"authorization": b"Bearer sk-1", b"x-api-key": b"sk-2"}, "Two different"),
    ],
)
def test_no_key_or_two_that_differ_are_refused_without_repeating_them(
    headers: dict[bytes, bytes], message: str
) -> None:
    with pytest.raises(InvalidKey, match=message) as caught:
        read_key(headers)
    assert "sk-1" not in caught.value.message


def test_a_key_is_found_by_itself_or_by_the_digest_in_the_config() -> None:
    keyring = client_keyring(
        {"search": team(keys=[{"name": "ci", "key": KEY}, {"name": "web", "digest": DIGEST}], models=["chat"])}
    )
    assert keyring.find({b"x-api-key": KEY.encode()}, 0) == Principal("search", "ci", frozenset({"chat"}))
    assert keyring.find({b"x-api-key": b"sk-way-another-key"}, 0).key_name == "web"
    assert len(keyring) == 2


@pytest.mark.parametrize("wrong", [KEY[:-1], KEY + "x", KEY.upper(), DIGEST])
def test_nothing_but_the_whole_key_opens(wrong: str) -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY}])})
    with pytest.raises(InvalidKey):
        keyring.find({b"x-api-key": wrong.encode()}, 0)


def test_a_key_is_good_until_the_day_it_expires_begins() -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY, "expires": date(2027, 1, 1)}])})
    midnight = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    headers = {b"x-api-key": KEY.encode()}
    assert keyring.find(headers, midnight - 1).team == "search"
    with pytest.raises(InvalidKey, match="expired"):
        keyring.find(headers, midnight)


def test_a_team_without_a_list_may_use_every_model() -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY}])})
    assert keyring.find({b"x-api-key": KEY.encode()}, 0).may_use("anything")


def test_admin_keys_open_a_ring_of_their_own() -> None:
    ring = admin_keyring(AdminConfig.model_validate({"keys": [{"name": "ops", "key": KEY, "role": "admin"}]}))
    assert ring.find({b"x-api-key": KEY.encode()}, 0).role == "admin"
    with pytest.raises(InvalidKey):
        Keyring[Principal]({}).find({b"x-api-key": KEY.encode()}, 0)


def test_a_caller_has_its_teams_priority() -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY}], priority=8)})
    assert keyring.find({b"x-api-key": KEY.encode()}, 0).priority == 8
