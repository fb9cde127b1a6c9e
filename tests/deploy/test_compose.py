"""deploy/compose: two gateways, what they need, and what watches them. Read as data: no Docker is needed."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import pytest

from proxy import __version__
from tests.deploy import read
from tests.house import tree

COMPOSE: dict[str, Any] = read.data(read.COMPOSE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GATEWAYS = {name: service for name, service in SERVICES.items() if service["image"].startswith("waystation:")}
EACH = pytest.mark.parametrize("name", sorted(SERVICES))


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Source and place of each volume."""
    return [(one.split(":")[0], one.split(":")[1]) for one in service.get("volumes", [])]


def options(service: dict[str, Any]) -> dict[str, str]:
    """Options of a Redis."""
    return dict(re.fullmatch(r"--(\S+) (.*)", line).groups() for line in service["command"][1:])  # type: ignore[union-attr,misc]


def test_two_gateways_differ_in_their_journal_alone() -> None:
    assert len(GATEWAYS) == 2
    first, second = GATEWAYS.values()
    assert {**first, "volumes": None} == {**second, "volumes": None}
    (own,) = set(mounts(first)) - set(mounts(second))
    (other,) = set(mounts(second)) - set(mounts(first))
    assert own[0] != other[0]
    assert own[1] == other[1]
    assert read.config(read.COMPOSE_CONFIG).state.journal.startswith(f"{own[1]}/")


def test_the_image_is_that_of_this_version_and_built_here() -> None:
    for service in GATEWAYS.values():
        assert service["image"] == f"waystation:${{WAYSTATION_VERSION:-{__version__}}}"
        folder = PurePosixPath(read.COMPOSE).parent / service["build"]["context"]
        assert folder == PurePosixPath("deploy/compose/../..")
    assert read.assigned("deploy/compose/.env.example")["WAYSTATION_VERSION"] == __version__


def test_the_gateways_serve_the_config_that_is_mounted() -> None:
    for service in GATEWAYS.values():
        command, file = service["command"][:2], PurePosixPath(service["command"][2])
        assert command == ["serve", "--config"]
        places = {place: source for source, place in mounts(service)}
        folder = PurePosixPath(read.COMPOSE).parent / places[str(file.parent)]
        assert str(folder / file.name) == read.COMPOSE_CONFIG
        assert read.variables(read.COMPOSE_CONFIG) == service["environment"].keys()


def test_the_urls_of_state_and_cache_are_those_of_the_two_redis() -> None:
    for service in GATEWAYS.values():
        for variable, name in (("REDIS_URL", "redis-state"), ("CACHE_URL", "redis-cache")):
            assert re.search(rf"@{name}:6379/0$", service["environment"][variable])
            assert SERVICES[name]["image"].startswith("redis:")
            assert service["depends_on"][name] == {"condition": "service_healthy"}


def test_the_redis_of_the_state_forgets_nothing() -> None:
    set_to = options(SERVICES["redis-state"])
    assert (set_to["maxmemory-policy"], set_to["appendonly"]) == ("noeviction", "yes")
    (volume,) = mounts(SERVICES["redis-state"])
    assert volume == ("redis-state", "/data")


def test_the_redis_of_the_cache_may_forget_and_writes_nothing() -> None:
    set_to = options(SERVICES["redis-cache"])
    assert (set_to["maxmemory-policy"], set_to["appendonly"], set_to["save"]) == ("allkeys-lru", "no", '""')
    assert mounts(SERVICES["redis-cache"]) == []


def test_both_redis_ask_for_the_password_and_are_not_to_be_reached() -> None:
    for name in ("redis-state", "redis-cache"):
        service = SERVICES[name]
        assert options(service)["requirepass"] == service["environment"]["REDISCLI_AUTH"]
        assert service["networks"] == ["state"]
        assert "ports" not in service
    assert COMPOSE["networks"]["state"]["internal"] is True


@EACH
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"


@EACH
def test_every_image_is_pinned_and_of_no_named_registry(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag[:1].isdigit() or tag[:2] == "v3" or tag.startswith("${WAYSTATION_VERSION:-")
    assert "." not in image


@EACH
def test_every_container_is_asked_how_it_is(name: str) -> None:
    if name in GATEWAYS:
        assert "healthcheck" not in SERVICES[name]  # the image's
        assert "HEALTHCHECK" in tree.text("Dockerfile")
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@EACH
def test_whatever_is_named_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert set(service.get("depends_on", {})) <= SERVICES.keys()
    folder = PurePosixPath(read.COMPOSE).parent
    for source, _ in mounts(service):
        if source.startswith("."):
            path = "/".join(part for part in (folder / source).parts).replace("deploy/compose/../", "deploy/")
            assert path in tree.files() or read.below(path), source
        else:
            assert source in COMPOSE["volumes"], source


def test_every_volume_is_somebodys() -> None:
    used = [source for service in SERVICES.values() for source, _ in mounts(service) if not source.startswith(".")]
    assert sorted(used) == sorted(COMPOSE["volumes"])


def test_nothing_is_killed_before_its_last_call_is_over() -> None:
    for service in (*GATEWAYS.values(), SERVICES["nginx"]):
        assert read.seconds(service["stop_grace_period"]) >= read.least_grace_s(read.COMPOSE_CONFIG)


def test_the_files_that_may_be_open_are_enough_for_all_connections() -> None:
    for service in GATEWAYS.values():
        assert service["ulimits"]["nofile"] > 2 * read.config(read.COMPOSE_CONFIG).server.max_connections


def test_only_nginx_is_reached_by_clients_and_the_rest_from_this_machine_at_most() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"nginx", "prometheus", "grafana"}
    assert published["nginx"] == ["${HTTP_ADDRESS:-127.0.0.1:8080}:8080"]
    assert all(port.startswith("127.0.0.1:") for name in ("prometheus", "grafana") for port in published[name])


def test_every_secret_is_asked_for_with_what_to_do() -> None:
    secrets = {"REDIS_PASSWORD", "SEARCH_KEY", "BATCH_KEY", "WAYSTATION_ADMIN_KEY", "GRAFANA_PASSWORD"}
    for name in secrets:
        found = re.findall(rf"\$\{{{name}[^}}]*\}}", tree.text(read.COMPOSE))
        assert found
        assert set(found) == {f"${{{name}:?run ./make-secrets}}"}
