import pytest
from pydantic import ValidationError

from proxy.config.schema_server import CacheConfig, NotifyConfig, RetainConfig, ServerConfig, StateConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"drain": "-1s"},
        {"drain_delay": "11m"},
        {"keepalive_comment": "0s"},
        {"max_body": "10B"},
        {"workers": 0},
        {"max_connections": 0},
        {"log": {"format": "xml"}},
        {"admin_listen": "nowhere"},
        {"workers": True},
        {"workers": 1.0},
        {"max_connections": 0.5},
        {"drain_s": "5s"},
    ],
)
def test_figures_out_of_bounds_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServerConfig.model_validate(settings)


def test_the_admin_address_can_be_switched_off() -> None:
    assert ServerConfig.model_validate({"admin_listen": None}).admin_listen is None


def test_defaults_are_what_the_file_would_say() -> None:
    server, retain = ServerConfig(), RetainConfig()
    assert (server.max_body_bytes, server.drain_s, server.max_connections) == (20_000_000, 60.0, 10_000)
    assert str(server.admin_listen) == "127.0.0.1:9090"
    assert (retain.requests_s, retain.rollups_s) == (90 * 86_400, 3 * 365 * 86_400)
    assert CacheConfig().memory_bytes == 256_000_000


def test_a_number_may_come_from_the_environment_as_text() -> None:
    assert ServerConfig.model_validate({"workers": "1", "max_connections": "2k"}).max_connections == 2_000


def test_passwords_of_urls_are_shown_nowhere() -> None:
    state = StateConfig.model_validate({"url": "redis://:p@ss@h:6379/0", "cache_url": "rediss://me:p@ss@h/1"})
    state_of_sentinels = StateConfig.model_validate(
        {"url": "redis+sentinel://u:p@ss@a,b/main?sentinel_username=s&sentinel_password=p@ss"}
    )
    notify = NotifyConfig.model_validate({"webhook": "https://hooks.example/p@ss"})
    shown = f"{state!r}{notify!r}{state.model_dump_json()}{notify.model_dump_json()}"
    shown += f"{state_of_sentinels!r}{state_of_sentinels.model_dump_json()}"
    assert "p@ss" not in shown
    assert "redis://**********@h:6379/0" in shown
    assert state.url == "redis://:p@ss@h:6379/0"
    assert StateConfig().model_dump()["url"] == "sqlite:///waystation.db"


@pytest.mark.parametrize("webhook", ["", "hooks.example/x", "ftp://h", "https://", "https://h/a b", 7])
def test_a_webhook_is_a_web_address(webhook: object) -> None:
    with pytest.raises(ValidationError):
        NotifyConfig.model_validate({"webhook": webhook})


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("sqlite:///x.db", True),
        ("redis://h:6379/0", True),
        ("rediss://:password@h/0", True),
        ("mysql://h", False),
        ("sqlite:///", False),
        ("redis://h 1", False),
        ("", False),
    ],
)
def test_state_is_on_sqlite_or_redis(url: str, good: bool) -> None:
    try:
        StateConfig.model_validate({"url": url})
    except ValidationError:
        assert not good
    else:
        assert good


def test_admission_has_bounds_by_default_and_a_queue_can_be_switched_off() -> None:
    usual = ServerConfig().admission
    assert (usual.concurrency, usual.queue, usual.max_wait_s) == (5_000, 1_000, 10.0)
    off = ServerConfig.model_validate({"admission": {"queue": 0, "max_wait": "0s"}}).admission
    assert (off.queue, off.max_wait_s) == (0, 0.0)


@pytest.mark.parametrize("admission", [{"concurrency": 0}, {"queue": -1}, {"max_wait": "2h"}, {"max_wait": 5}])
def test_absurd_bounds_of_admission_are_faults(admission: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServerConfig.model_validate({"admission": admission})


def test_a_namespace_can_t_be_taken_for_another_fleet_s_team() -> None:
    assert StateConfig.model_validate({"namespace": "llm:eu-1"}).namespace == "llm:eu-1"
    with pytest.raises(ValidationError, match="without /"):
        StateConfig.model_validate({"namespace": "llm/eu"})
