import ssl
import subprocess
from pathlib import Path

import pytest

from proxy.state import StateUnusable
from proxy.state.base import StateAway
from proxy.state.redis_door import Door, tls_context
from proxy.state.redis_place import Address, Login, RedisPlace, Tls
from tests.fake_redis import OK, SILENCE, fake_redis, hello
from tests.redis_fleet import CERTIFIER, Certificate
from tests.redis_server import RedisServer

pytestmark = pytest.mark.integration


def at(port: int, **more: object) -> RedisPlace:
    return RedisPlace("single", (Address("127.0.0.1", port),), **more)  # type: ignore[arg-type]


async def reason(place: RedisPlace, timeout_s: float = 1.0) -> str:
    """Why there is no connection."""
    with pytest.raises(StateAway) as caught:
        await Door(place, timeout_s).open_primary(place.addresses)
    return str(caught.value)


async def test_a_connection_begins_with_login_database_and_name_and_ends_with_a_ping() -> None:
    async with fake_redis() as fake:
        place = at(fake.port, login=Login("me", "s3cret"), database=3)
        opened = await Door(place, 1.0).open_primary(place.addresses)
        assert opened.wire.is_open
        assert not opened.is_old
        opened.wire.close()
    assert fake.asked == [
        [b"AUTH", b"me", b"s3cret"],
        [b"SELECT", b"3"],
        [b"CLIENT", b"SETNAME", b"waystation"],
        [b"HELLO"],
        [b"PING"],
    ]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"AUTH": b"-WRONGPASS s3cret\r\n"}, "it refuses the login of the URL"),
        ({"SELECT": b"-ERR DB index is out of range\r\n"}, "it refuses the database of the URL"),
        ({"HELLO": hello(role="replica")}, "it is a replica, or a sentinel"),
        ({"PING": b"-LOADING Redis is loading the dataset in memory\r\n"}, "Redis says LOADING"),
        ({"PING": b"-BUSY a script is running\r\n"}, "Redis says BUSY"),
        ({"PING": b"-NOAUTH Authentication required.\r\n"}, "Redis says NOAUTH"),
        ({"PING": SILENCE}, "no answer within 0.02 s"),
        ({"PING": b"HTTP/1.1\r\n"}, "it answered with what is no answer"),
    ],
)
async def test_who_is_not_the_one_to_ask_is_not_connected_to(answers: dict[str, bytes], expected: str) -> None:
    async with fake_redis(**answers) as fake:
        said = await reason(at(fake.port, login=Login(None, "s3cret"), database=3), 0.02)
    assert said.endswith(expected)
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("said", "is_old"),
    [(hello("6.2.14"), True), (hello("7.0.0"), False), (hello("10.1"), False), (b"-ERR unknown\r\n", False)],
)
async def test_a_server_before_version_7_is_known(said: bytes, is_old: bool) -> None:
    async with fake_redis(HELLO=said) as fake:
        place = at(fake.port)
        opened = await Door(place, 1.0).open_primary(place.addresses)
        assert opened.is_old == is_old
        opened.wire.close()


async def test_the_first_that_may_be_written_to_is_taken(redis: RedisServer) -> None:
    async with fake_redis(HELLO=hello(role="slave")) as fake:
        candidates = [Address("127.0.0.1", fake.port), Address("127.0.0.1", redis.port)]
        opened = await Door(at(fake.port), 1.0).open_primary(candidates)
        assert opened.wire.is_open
        opened.wire.close()


async def test_nobody_is_there() -> None:
    assert (await reason(at(1))).startswith("127.0.0.1:1: ")
    assert await reason(RedisPlace("single", ())) == "no server is known"
    assert "host" in await reason(RedisPlace("single", (Address("host" + "x" * 70, 1),)))


async def test_a_sentinel_is_asked_with_its_own_login() -> None:
    async with fake_redis(SENTINEL=OK) as fake:
        place = RedisPlace("sentinel", (), Login("u", "p"), 0, "main", Login("s", "q"))
        assert await Door(place, 1.0).consult(Address("127.0.0.1", fake.port), "SENTINEL", "x") == b"OK"
    assert fake.asked == [[b"AUTH", b"s", b"q"], [b"SENTINEL", b"x"]]


def test_tls_is_as_the_url_has_it() -> None:
    usual = tls_context(Tls())
    assert (usual.verify_mode, usual.check_hostname) == (ssl.CERT_REQUIRED, True)
    trusting = tls_context(Tls(cert_reqs="none"))
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("tls", [Tls(ca_certs="/no/such.pem"), Tls(certfile="/no/such.pem")])
def test_a_file_that_is_not_there_is_named_by_its_option(tls: Tls) -> None:
    with pytest.raises(StateUnusable, match="No such file"):
        tls_context(tls)


@pytest.mark.skipif(CERTIFIER is None, reason="there is no openssl to make a certificate with")
def test_a_key_with_a_password_is_refused_without_asking_for_it(tmp_path: Path) -> None:
    Certificate(tmp_path)
    assert CERTIFIER is not None
    key, locked = tmp_path / "key.pem", tmp_path / "locked.pem"
    command = [CERTIFIER, "rsa", "-aes256", "-passout", "pass:s3cret", "-in", str(key), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(StateUnusable):
        tls_context(Tls(certfile=str(tmp_path / "certificate.pem"), keyfile=str(locked)))
