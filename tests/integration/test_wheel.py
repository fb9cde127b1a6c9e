"""The wheel holds all that the gateway needs, and runs away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


def _run(*command: str | Path, cwd: Path, **environ: str) -> str:
    result = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    flags = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    _run("-m", "pip", "wheel", *flags, "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("waystation-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """A folder with the unpacked wheel; its dependencies come from the environment of the tests."""
    folder = wheel.parent / "site"
    _run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel, cwd=wheel.parent)
    return folder


def test_wheel_holds_every_file_of_both_packages_and_nothing_else(wheel: Path) -> None:
    code = {str(path.relative_to(ROOT)) for room in ("proxy", "routing") for path in (ROOT / room).rglob("*.*")}
    expected = {name for name in code if "__pycache__" not in name} | {"proxy/config/default.yaml"}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


def test_wheel_carries_the_root_config_as_its_default(wheel: Path) -> None:
    assert zipfile.ZipFile(wheel).read("proxy/config/default.yaml") == (ROOT / "config.yaml").read_bytes()


def test_wheel_states_its_licence_and_its_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    assert "License-Expression: Apache-2.0" in archive.read(f"{folder}/METADATA").decode()
    assert "waystation = proxy.cli:main" in archive.read(f"{folder}/entry_points.txt").decode()
    assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_installed_wheel_runs_away_from_the_checkout(site: Path, tmp_path: Path) -> None:
    place = _run("-P", "-c", "import proxy, routing; print(proxy.__file__)", cwd=tmp_path, PYTHONPATH=str(site))
    assert place.strip() == str(site / "proxy" / "__init__.py")
    answer = _run("-P", site / "bin" / "waystation", "--version", cwd=tmp_path, PYTHONPATH=str(site))
    assert answer.startswith("waystation ")


def test_recorded_traffic_comes_along_with_its_own_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (stated,) = (name for name in archive.namelist() if name.endswith("licenses/proxy/cli/traces/README.md"))
    assert "CC BY 4.0" in archive.read(stated).decode()


def test_installed_wheel_simulates_its_default_config_on_that_traffic(site: Path, tmp_path: Path) -> None:
    command = ("simulate", "--model", "chat-fast", "--json")
    report = json.loads(_run("-P", site / "bin" / "waystation", *command, cwd=tmp_path, PYTHONPATH=str(site)))
    assert (report["ok"], report["trace"], report["requests"]) == (True, "conv", 19_366)


def test_installed_wheel_finds_its_own_default_config(site: Path, tmp_path: Path) -> None:
    script = "from proxy.config import default_config_path; print(default_config_path())"
    place = _run("-P", "-c", script, cwd=tmp_path, PYTHONPATH=str(site))
    assert place.strip() == str(site / "proxy" / "config" / "default.yaml")
