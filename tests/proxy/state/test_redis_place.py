import pytest

from proxy.config.verify_state import check_accounting
from proxy.state import StateUnusable
from proxy.state.redis_place import Address, Login, RedisPlace, Tls, read_redis_url


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h", RedisPlace("single", (Address("h", 6379),))),
        ("redis://h:7000/3", RedisPlace("single", (Address("h", 7000),), database=3)),
        ("redis://[::1]:7000", RedisPlace("single", (Address("::1", 7000),))),
        ("redis://:p%40s@s@h", RedisPlace("single", (Address("h", 6379),), Login(None, "p@s@s"))),
        ("redis://me:secret@h/", RedisPlace("single", (Address("h", 6379),), Login("me", "secret"))),
        (
            "rediss://h?ssl_ca_certs=/a.pem&ssl_check_hostname=false&ssl_cert_reqs=optional",
            RedisPlace("single", (Address("h", 6379),), tls=Tls("/a.pem", None, None, "optional", False)),
        ),
        (
            "redis+sentinel://u:p@a,b:7000/main/2?sentinel_username=s&sentinel_password=q",
            RedisPlace(
                "sentinel", (Address("a", 26379), Address("b", 7000)), Login("u", "p"), 2, "main", Login("s", "q")
            ),
        ),
        ("redis+sentinel://a/main", RedisPlace("sentinel", (Address("a", 26379),), service="main")),
        ("redis+cluster://a:1,b", RedisPlace("cluster", (Address("a", 1), Address("b", 6379)))),
        ("rediss+cluster://a", RedisPlace("cluster", (Address("a", 6379),), tls=Tls())),
    ],
)
def test_each_form_says_where(url: str, place: RedisPlace) -> None:
    assert read_redis_url(url) == place


@pytest.mark.parametrize("url", ["sqlite:///a.db", "mysql://h", ""])
def test_what_is_no_url_of_redis_is_nothing(url: str) -> None:
    assert read_redis_url(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "redis:///0",
        "redis://:s3cret/0",
        "redis://:s3cret#@h/0",
        "redis://a,b",
        "redis://h:0",
        "redis://h:70000",
        "redis://h:x",
        "redis://h/a",
        "redis://h/1/2",
        "redis+sentinel://a:26379",
        "redis+sentinel://a:26379/main/x",
        "redis+cluster://a:1/2",
        "rediss://h?ssl_cert_reqs=s3cret",
    ],
)
def test_a_wrong_url_is_a_fault_of_the_config_and_stops_a_start(url: str) -> None:
    [finding, *_] = check_accounting({"state": {"url": url}})
    assert not finding.is_warning
    with pytest.raises(StateUnusable) as caught:
        read_redis_url(url)
    assert "s3cret" not in f"{finding}{caught.value}"


def test_credentials_are_shown_nowhere() -> None:
    place = read_redis_url("redis+sentinel://meandmy:s3cret@a/main?sentinel_username=boss&sentinel_password=s3cret")
    assert place is not None
    assert "s3cret" not in repr(place)
    assert "boss" not in repr(place)
    assert "meandmy" not in str(place)


def test_an_address_is_written_as_in_a_url() -> None:
    assert str(Address("h", 1)) == "h:1"
    assert str(Address("::1", 1)) == "[::1]:1"
