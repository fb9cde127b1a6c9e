import pytest

from proxy.config.verify_state import check_accounting, check_retention, check_workers, shared_by


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_time_zone_that_exists_is_taken(zone: str) -> None:
    assert list(check_accounting({"accounting": {"timezone": zone}})) == []


def test_a_time_zone_that_does_not_is_a_fault_with_the_nearest() -> None:
    [finding] = check_accounting({"accounting": {"timezone": "Europe/Berln"}})
    assert finding.path == ("accounting", "timezone")
    assert "Europe/Berlin" in finding.hint
    assert not finding.is_warning


@pytest.mark.parametrize("name", ["url", "cache_url"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p%2Fw@h:6379/0",
        "redis://[::1]:6379/0",
        "rediss://me:pw@h/3?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=none",
        "redis+sentinel://a,b:26379/main",
        "redis+sentinel://:pw@a/main/2?sentinel_username=s&sentinel_password=p",
        "rediss+sentinel://a/main?ssl_check_hostname=false",
        "redis+cluster://a:7000,b:7001",
        "rediss+cluster://a/0",
    ],
)
def test_each_form_of_a_redis_is_taken(name: str, url: str) -> None:
    assert list(check_accounting({"state": {name: url}})) == []


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("redis:///0", "names no host", "redis://HOST:PORT/DATABASE"),
        ("redis://:s3cr#et@h/0", "percent-encoded", "redis://HOST"),
        ("redis://a,b/0", "several hosts", "redis://HOST"),
        ("redis://h:0/0", "host 1 is not", "redis://HOST"),
        ("redis+cluster://a,b:70000", "host 2 is not", "redis+cluster://HOST:PORT,HOST:PORT"),
        ("redis+cluster://a/1", "a cluster has no databases", "redis+cluster://HOST"),
        ("redis://h/s3cret", "the database is not a number", "redis://HOST"),
        ("redis://h/1/2", "the database is not a number", "redis://HOST"),
        ("redis+sentinel://a,b", "lacks the name", "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE"),
        ("redis+sentinel://a/main/s3cret", "the database is not a number", "SERVICE"),
        ("redis://h?s3cret=1", "option 1 is not known", "redis://HOST"),
        ("redis://h?ssl_cert_reqs=none", "rediss://", "redis://HOST"),
        ("rediss://h?ssl_cert_reqs=s3cret", "none, optional, required", "redis://HOST"),
        ("rediss://h?sentinel_password=s3cret", "+sentinel", "redis://HOST"),
    ],
)
def test_a_wrong_url_is_a_fault_that_does_not_repeat_it(url: str, message: str, hint: str) -> None:
    [finding] = check_accounting({"state": {"url": url}})
    assert (finding.path, finding.is_warning) == (("state", "url"), False)
    assert message in finding.message
    assert hint in finding.hint
    assert "s3cr" not in f"{finding.message}{finding.hint}"


@pytest.mark.parametrize("root", [{}, {"accounting": None, "state": 7}, {"state": {"url": "sqlite:///x.db"}}])
def test_nothing_is_said_of_what_is_right_or_of_another_shape(root: dict[str, object]) -> None:
    assert list(check_accounting(root)) == []


@pytest.mark.parametrize("state", [{}, {"state": {}}, {"state": {"url": "sqlite:///x.db"}}])
@pytest.mark.parametrize("workers", [2, "16"])
def test_several_workers_over_a_file_are_refused_with_what_to_write(state: dict[str, object], workers: object) -> None:
    [finding] = check_workers({"server": {"workers": workers}, **state})
    assert (finding.path, finding.is_warning) == (("server", "workers"), False)
    assert "redis://" in finding.hint
    assert "workers: 1" in finding.hint


@pytest.mark.parametrize(
    "root",
    [
        {},
        {"server": {"workers": 1}},
        {"server": {"workers": "1"}},
        {"server": {"workers": "many"}, "state": None},
        {"server": {"workers": True}},
        {"server": {"workers": 8}, "state": {"url": "redis://host:6379/0"}},
        {"server": {"workers": 8}, "state": {"url": "rediss+cluster://host:6379"}},
        {"server": {"workers": 8}, "state": {"url": 7}},
    ],
)
def test_workers_that_can_share_their_state_are_taken(root: dict[str, object]) -> None:
    assert list(check_workers(root)) == []


def test_a_number_from_the_command_line_is_judged_alike() -> None:
    assert shared_by(1, "sqlite:///x.db") is None
    assert shared_by(4, "redis://host:6379/0") is None
    assert shared_by(4, "sqlite:///x.db") is not None


@pytest.mark.parametrize(
    ("retain", "path"),
    [
        ({}, ("state", "url")),
        ({"retain": {"rollups": "1y"}}, ("state", "url")),
        ({"retain": {"requests": "90d"}}, ("state", "retain", "requests")),
        ({"retain": {"requests": "169h"}}, ("state", "retain", "requests")),
    ],
)
def test_single_calls_that_stay_in_redis_for_long_draw_a_warning(
    retain: dict[str, object], path: tuple[str, ...]
) -> None:
    [finding] = check_retention({"state": {"url": "rediss+sentinel://h/main", **retain}})
    assert (finding.path, finding.is_warning) == (path, True)
    assert "memory" in finding.message
    assert "state.retain.requests" in finding.hint


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"url": "sqlite:///x.db", "cache_url": "redis://h", "retain": {"requests": "90d"}},
        {"url": "redis://h", "retain": {"requests": "7d"}},
        {"url": "redis://h", "retain": {"requests": "long"}},
        {"url": 7, "retain": {"requests": "90d"}},
    ],
)
def test_nothing_is_said_of_short_spans_and_of_files(state: object) -> None:
    assert list(check_retention({"state": state})) == []
