"""The configs of deploy/ hold, and say the same as the files around them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from proxy import __version__
from tests.deploy import read
from tests.house import tree

CONFIGS = pytest.mark.parametrize("name", [read.COMPOSE_CONFIG, read.KUBERNETES_CONFIG])


@CONFIGS
def test_the_config_holds(name: str) -> None:
    warned = {fault.path for fault in read.loaded(name).warnings}
    assert warned <= {"state.cache_url"}


@CONFIGS
def test_state_is_shared_and_the_cache_apart_from_it(name: str) -> None:
    state = read.config(name).state
    assert state.url.startswith("redis://")
    assert state.cache_url is not None
    assert state.cache_url != state.url


@CONFIGS
def test_an_answer_needs_no_key_of_a_provider(name: str) -> None:
    config = read.config(name)
    assert {provider.kind for provider in config.providers.values()} == {"demo"}
    assert config.models
    assert all(target.price_usd_per_mtok for model in config.models.values() for target in model.targets)


@CONFIGS
def test_every_team_has_keys_limits_and_quotas(name: str) -> None:
    teams = read.config(name).teams
    assert teams
    assert all(team.keys and team.limits and team.quotas for team in teams.values())
    assert read.config(name).admin.keys


@CONFIGS
def test_both_ports_are_reached_from_outside_the_container(name: str) -> None:
    server = read.config(name).server
    assert server.admin_listen is not None
    assert (server.listen.host, server.admin_listen.host) == ("0.0.0.0", "0.0.0.0")
    ports = {str(server.listen.port), str(server.admin_listen.port)}
    (exposed,) = [line.split()[1:] for line in tree.text("Dockerfile").splitlines() if line.startswith("EXPOSE")]
    assert ports == set(exposed)


def test_the_examples_of_secrets_have_what_the_configs_need_and_nothing_else() -> None:
    kubernetes = read.assigned(f"{read.KUBERNETES}/secret.env.example")
    assert kubernetes.keys() == read.variables(read.KUBERNETES_CONFIG)
    assert read.assigned("deploy/compose/.env.example").keys() == read.variables(read.COMPOSE)


def test_no_secret_is_in_the_files() -> None:
    for name in ("deploy/compose/.env.example", f"{read.KUBERNETES}/secret.env.example"):
        for variable, value in read.assigned(name).items():
            assert not value or "PASSWORD@HOST" in value or variable in {"WAYSTATION_VERSION", "HTTP_ADDRESS"}, variable
    ignored = tree.text(".gitignore").splitlines()
    assert {"/deploy/compose/*.env", "/deploy/kubernetes/secret.env"} <= set(ignored)


def test_make_secrets_fills_in_what_is_empty_once(tmp_path: Path) -> None:
    for name in ("make-secrets", ".env.example"):
        (tmp_path / name).write_text(tree.text(f"deploy/compose/{name}"))

    def made() -> str:
        subprocess.run(["sh", "make-secrets"], cwd=tmp_path, check=True, capture_output=True)
        return (tmp_path / ".env").read_text()

    first = made()
    values = dict(line.split("=", 1) for line in first.splitlines() if "=" in line and not line.startswith("#"))
    secrets = [value for name, value in values.items() if name not in {"WAYSTATION_VERSION", "HTTP_ADDRESS"}]
    assert len(set(secrets)) == len(secrets) == 5
    assert all(len(secret) == 48 and secret.isalnum() for secret in secrets)
    assert values["WAYSTATION_VERSION"] == __version__
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert made() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".env.example", "make-secrets"]


def test_make_secrets_can_be_run() -> None:
    assert Path(tree.ROOT, "deploy/compose/make-secrets").stat().st_mode & 0o100
