"""The commands of `scripts/` and `.ci/run`: what they hand on, from where they may be called, when `.venv` is stale."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import environment

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "scripts/serve",
    "scripts/test",
    "scripts/check",
    "scripts/bench",
    "scripts/lock",
    "scripts/venv",
    ".ci/run",
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The real scripts in a folder with a space in its name; the programs of `.venv` only say how they were called."""
    root = tmp_path / "way station"
    for name in COMMANDS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    _program(root / "scripts" / "venv", 'echo "venv $*"')
    for name in ("waystation", "python", "ruff", "mypy", "lint-imports"):
        _program(root / ".venv" / "bin" / name, f'printf "<%s>" {name} "$@"; echo; pwd')
    return root


def _program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _call(command: Path, *arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments], cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_scripts_are_executable_posix_shell(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    assert (ROOT / name).read_text().startswith("#!/bin/sh\n")
    assert "\nset -eu\n" in (ROOT / name).read_text()
    assert subprocess.run(["sh", "-n", ROOT / name], check=False).returncode == 0


def test_serve_keeps_its_arguments_and_the_working_directory(checkout: Path, tmp_path: Path) -> None:
    result = _call(checkout / "scripts" / "serve", "--config", "my file.yaml", cwd=tmp_path)
    assert result.stdout.splitlines() == ["venv runtime", "<waystation><serve><--config><my file.yaml>", str(tmp_path)]


def test_tests_run_with_the_gate_only_as_a_whole(checkout: Path, tmp_path: Path) -> None:
    whole = _call(checkout / "scripts" / "test", cwd=tmp_path).stdout.splitlines()
    part = _call(checkout / "scripts" / "test", "-k", "a b", cwd=tmp_path).stdout.splitlines()
    assert whole[0] == "venv dev"
    assert "--cov-fail-under" in whole[1]
    assert part[1:] == ["<python><-m><pytest><-k><a b>", str(checkout)]


def test_bench_runs_the_benchmarks(checkout: Path, tmp_path: Path) -> None:
    result = _call(checkout / "scripts" / "bench", "--quick", cwd=tmp_path)
    assert result.stdout.splitlines()[1] == "<python><-m><benchmarks><--quick>"


def test_check_runs_every_step_and_fails_if_one_did(checkout: Path, tmp_path: Path) -> None:
    good = _call(checkout / "scripts" / "check", cwd=tmp_path)
    _program(checkout / ".venv" / "bin" / "ruff", "exit 1")
    bad = _call(checkout / "scripts" / "check", cwd=tmp_path)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "<python><-m><pytest><-q><tests/house>" in bad.stdout
    assert bad.stdout.splitlines()[-1] == "check: failed: format lint"


def test_ci_stops_at_the_first_failure_and_ends_with_the_tests(checkout: Path, tmp_path: Path) -> None:
    good = _call(checkout / ".ci" / "run", cwd=tmp_path)
    _program(checkout / ".venv" / "bin" / "mypy", "exit 1")
    bad = _call(checkout / ".ci" / "run", cwd=tmp_path)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert good.stdout.splitlines()[-2].startswith("<python><-m><pytest><--cov>")
    assert "--cov>" not in bad.stdout


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    result = _call(ROOT / "scripts" / "venv", "runtime", cwd=tmp_path, PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    assert "apt-get install python3 python3-venv" in result.stderr


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of locks only, with a `.venv` that holds everything."""
    for name in ("RUNTIME_LOCK", "BUILD_LOCK", "DEV_LOCK"):
        path = tmp_path / getattr(environment, name).relative_to(environment.ROOT)
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        monkeypatch.setattr(environment, name, path)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "stamp")
    version = environment.python_version()
    assert version is not None
    environment.STAMP.write_text("\n".join([str(tmp_path), *environment.digests(version).values()]))
    return tmp_path


def test_a_complete_environment_is_current_at_both_levels(venv: Path) -> None:
    assert environment.is_current("runtime")
    assert environment.is_current("dev")


def test_a_new_dev_lock_leaves_the_runtime_level_current(venv: Path) -> None:
    (venv / "tests" / "requirements.lock").write_text("new")
    assert environment.is_current("runtime")
    assert not environment.is_current("dev")


@pytest.mark.parametrize("name", ["requirements.lock", "scripts/build.lock", "pyproject.toml"])
def test_a_changed_file_makes_both_levels_stale(venv: Path, name: str) -> None:
    (venv / name).write_text("new")
    assert not environment.is_current("runtime")
    assert not environment.is_current("dev")


def test_an_interrupted_install_is_done_again_from_scratch(venv: Path) -> None:
    assert environment.is_usable()
    environment.STAMP.write_text(environment.UNFINISHED)
    assert not environment.is_current("runtime")
    assert not environment.is_usable()


def test_an_environment_made_by_other_means_is_built_upon(venv: Path) -> None:
    environment.STAMP.unlink()
    assert not environment.is_current("runtime")
    assert environment.is_usable()


def test_a_moved_checkout_gets_a_new_environment(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", venv / "elsewhere")
    assert not environment.is_usable()
    assert not environment.is_current("runtime")


def test_a_venv_whose_python_is_gone_is_not_used(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PYTHON", venv / "gone")
    assert not environment.is_current("runtime")


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("Collecting aiohttp==3.14.5 (from -r requirements.lock (line 6))", "aiohttp"),
        ("Processing /a b/files/attrs-26.1.0-py3-none-any.whl (from -r x)", "attrs"),
        ("Requirement already satisfied: idna==3.20 in ./.venv/lib", "idna"),
        ("  Downloading aiohttp-3.14.5.whl (1.7 MB)", None),
        ("Installing collected packages: idna", None),
    ],
)
def test_progress_names_the_package_that_pip_is_at(line: str, package: str | None) -> None:
    assert environment.package_named_by(line) == package
