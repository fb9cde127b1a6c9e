"""Makes and mends `.venv`: `python3 environment.py runtime|dev`. Started by the other scripts; standard library only, Python 3.11.

A stamp inside `.venv` remembers what was installed, and is written last: an install that was interrupted is done again by the next
run. A file lock, let go by the kernel however its holder ends, keeps two scripts out of each other's way.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "waystation.stamp"
LOCK = VENV / "waystation.lock"

RUNTIME_LOCK = ROOT / "requirements.lock"
BUILD_LOCK = ROOT / "scripts" / "build.lock"
DEV_LOCK = ROOT / "tests" / "requirements.lock"
#: What is installed at each level. The dev lock holds the other two, at the same versions.
LEVELS = {"runtime": [RUNTIME_LOCK, BUILD_LOCK], "dev": [DEV_LOCK]}
DURATION = {"runtime": "about 20 seconds", "dev": "about 40 seconds"}


def say(text: str) -> None:
    """Print one line of progress; to stderr, for stdout belongs to the command that follows."""
    print(f"waystation: {text}", file=sys.stderr, flush=True)


def interpreter_of_venv() -> str | None:
    """The version and place of the `.venv` that is there; None if there is none, or none that runs and is new enough."""
    question = "import sys; assert sys.version_info >= (3, 11); print(*sys.version_info[:3], sys.prefix)"
    try:
        answer = subprocess.run([PYTHON, "-I", "-c", question], capture_output=True, text=True, check=False)
    except OSError:
        return None
    # A checkout that was moved has the old place in every script of its `.venv`.
    moved = not (VENV / "pyvenv.cfg").exists() or not answer.stdout.rstrip().endswith(str(VENV))
    return None if answer.returncode or moved else answer.stdout.strip()


def digests(interpreter: str) -> dict[str, str]:
    """For each level, a digest of all that decides what is installed."""
    runtime = hashlib.sha256(f"{interpreter}\n{ROOT}\n".encode())
    for path in (ROOT / "pyproject.toml", RUNTIME_LOCK, BUILD_LOCK):
        runtime.update(path.read_bytes())
    dev = runtime.copy()
    dev.update(DEV_LOCK.read_bytes())
    return {"runtime": runtime.hexdigest(), "dev": dev.hexdigest()}


def is_current(level: str) -> bool:
    """Does `.venv` hold at least this level, at the locked versions?"""
    if not STAMP.exists():
        return False
    interpreter = interpreter_of_venv()
    return interpreter is not None and digests(interpreter)[level] in STAMP.read_text().split()


def can_import(name: str) -> bool:
    """Does this interpreter have the module?"""
    return importlib.util.find_spec(name) is not None


def get_ensurepip() -> bool:
    """Debian parts ensurepip from python3. Root installs it; anybody else is told how. True if it is there now."""
    package = f"python3.{sys.version_info.minor}-venv"
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        say(f"this python3 ({sys.executable}) cannot make virtual environments: it has neither ensurepip nor pip.")
        say(f"on Debian and Ubuntu: sudo apt-get install {package}   (or python3-venv)")
        return False
    say(f"this python3 has neither ensurepip nor pip; installing Debian's {package} with apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", package]):
        if subprocess.run([apt, *command], env=quiet, stdout=sys.stderr, check=False).returncode:
            say(f"apt-get {command[0]} failed; install {package} by hand and run this again.")
            return False
    importlib.invalidate_caches()
    return can_import("ensurepip")


def make_venv() -> bool:
    """A fresh `.venv` beside the lock file. False if this interpreter cannot make one; why has been said."""
    for name in ("bin", "lib", "lib64", "include", "share"):
        path = VENV / name
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
    flags: list[str] = []
    if not can_import("ensurepip"):
        if can_import("pip"):
            flags = ["--without-pip"]
        elif not get_ensurepip():
            return False
    say(f"making .venv with Python {sys.version.split()[0]}")
    return subprocess.run([sys.executable, "-m", "venv", *flags, VENV], check=False).returncode == 0


def pip_command() -> list[str | Path]:
    """The pip of `.venv`, or this interpreter's own, pointed at `.venv`."""
    own = subprocess.run([PYTHON, "-I", "-c", "import pip"], capture_output=True, check=False).returncode == 0
    return [PYTHON, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", PYTHON]


def pip_install(what: Sequence[str | Path], total: int) -> bool:
    """Run `pip install`, showing how far it is; its whole output only if it fails."""
    command = [*pip_command(), "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off", *what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    assert process.stdout is not None
    lines: list[str] = []
    seen, shown_at = 0, time.monotonic()
    for line in process.stdout:
        lines.append(line)
        word, _, rest = line.strip().partition(" ")
        if word == "Collecting" or line.startswith("Requirement already satisfied"):
            seen += 1
            if time.monotonic() - shown_at > 2:
                say(f"  {seen} of about {total}: {rest.split('==')[0].split(' ')[-1]}")
                shown_at = time.monotonic()
        elif word == "Installing" and rest.startswith("collected"):
            say(f"  all {seen} fetched; unpacking")
    if process.wait():
        sys.stderr.writelines(lines[-40:])
        say("pip failed; the end of its output is above. Run the same command again once the cause is gone.")
        return False
    return True


def install(level: str) -> bool:
    """Bring `.venv` to the level. True when it is there."""
    interpreter = interpreter_of_venv()
    if interpreter is None:
        if not make_venv():
            return False
        interpreter = interpreter_of_venv()
        if interpreter is None:
            say(f".venv was made but does not run; remove {VENV} and try again.")
            return False
    STAMP.unlink(missing_ok=True)
    total = sum(path.read_text().count("==") for path in LEVELS[level])
    say(f"installing the {level} packages, each checked against its hash in the lock ({DURATION[level]} the first time)")
    locks = [part for path in LEVELS[level] for part in ("-r", path)]
    if not pip_install(["--require-hashes", *locks], total):
        return False
    say("installing waystation itself, editable")
    if not pip_install(["--no-deps", "--no-build-isolation", "--no-index", "--editable", ROOT], 1):
        return False
    known = digests(interpreter)
    STAMP.write_text("\n".join(known.values() if level == "dev" else [known["runtime"]]) + "\n")
    return True


def main(level: str) -> int:
    """Make sure that `.venv` holds the level; gives the exit code."""
    if is_current(level):
        return 0
    started = time.monotonic()
    VENV.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another script is preparing .venv; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_current(level):
            return 0
        if not install(level):
            return 1
    say(f".venv is ready after {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in LEVELS:
        sys.exit(f"usage: environment.py {'|'.join(LEVELS)}")
    sys.exit(main(sys.argv[1]))
