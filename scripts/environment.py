"""Makes and mends `.venv`: `environment.py runtime|dev`. Started by the other scripts; standard library only.

A stamp inside `.venv` remembers what was installed, or that an install is under way: one that was cut off is done again
from scratch. A file lock, let go by the kernel however its holder ends, keeps two scripts out of each other's way.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
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
UNFINISHED = "unfinished"

RUNTIME_LOCK = ROOT / "requirements.lock"
BUILD_LOCK = ROOT / "scripts" / "build.lock"
DEV_LOCK = ROOT / "tests" / "requirements.lock"
#: What is installed at each level. The dev lock holds the other two, at the same versions.
LEVELS = {"runtime": [RUNTIME_LOCK, BUILD_LOCK], "dev": [DEV_LOCK]}
DURATION = {"runtime": "about 20 seconds", "dev": "about 40 seconds"}


def say(text: str) -> None:
    """Print one line of progress; to stderr, for stdout belongs to the command that follows."""
    sys.stderr.write(f"waystation: {text}\n")
    sys.stderr.flush()


def read_stamp() -> list[str]:
    """The place `.venv` was made for, then what it holds; empty for a `.venv` that was not made here."""
    return STAMP.read_text().splitlines() if STAMP.exists() else []


def python_version() -> str | None:
    """The version of the Python of `.venv`; None if there is none, or none that runs and is new enough."""
    question = "import sys; assert sys.version_info >= (3, 11) and sys.prefix != sys.base_prefix; print(sys.version)"
    try:
        answer = subprocess.run([PYTHON, "-I", "-c", question], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def is_usable() -> bool:
    """Can `.venv` be built upon? Not if an install was cut off, which leaves half a package that pip takes for a whole
    one; not if the checkout was moved, for the scripts in `.venv` name the old place.
    """
    stamp = read_stamp()
    return (not stamp or stamp[0] == str(ROOT)) and python_version() is not None


def digests(version: str) -> dict[str, str]:
    """For each level, a digest of all that decides what is installed."""
    runtime = hashlib.sha256(version.encode())
    for path in (ROOT / "pyproject.toml", RUNTIME_LOCK, BUILD_LOCK):
        runtime.update(path.read_bytes())
    dev = runtime.copy()
    dev.update(DEV_LOCK.read_bytes())
    return {"runtime": runtime.hexdigest(), "dev": dev.hexdigest()}


def is_current(level: str) -> bool:
    """Does `.venv` hold at least this level, at the locked versions?"""
    stamp = read_stamp()
    version = python_version() if stamp and stamp[0] == str(ROOT) else None
    return version is not None and digests(version)[level] in stamp


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


def package_named_by(line: str) -> str | None:
    """The package that a line of pip's output turns to; None if it is about something else."""
    word, _, rest = line.strip().partition(" ")
    if word == "Collecting":
        return rest.split("==")[0].split(" ")[0]
    if word == "Processing":
        return rest.partition(" (from ")[0].rpartition("/")[2].split("-")[0]
    return rest.split(":")[1].split("==")[0].strip() if line.startswith("Requirement already satisfied:") else None


def pip_install(what: Sequence[str | Path], total: int = 0) -> int:
    """Run `pip install`, showing how many of `total` packages it has dealt with; all it has to say only if it fails."""
    command = [*pip_command(), "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off", *what]
    # Not closing the files hands pip the lock, which so is held for as long as a pip is at work, even an orphaned one.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, close_fds=False
    )
    assert process.stdout is not None
    lines: list[str] = []
    seen, shown_at = 0, time.monotonic()
    for line in process.stdout:
        lines.append(line)
        if not total:
            continue
        if name := package_named_by(line):
            seen += 1
            if time.monotonic() - shown_at > 2:
                say(f"  {seen} of about {total}: {name}")
                shown_at = time.monotonic()
        elif line.startswith("Installing collected packages"):
            say(f"  all {seen} there; unpacking")
    code = process.wait()
    if code:
        sys.stderr.writelines(lines[-40:])
        say("pip failed; the end of its output is above. Run the same command again once the cause is gone.")
    return code


def install(level: str) -> bool:
    """Bring `.venv` to the level. True when it is there."""
    usable = is_usable()
    STAMP.write_text(f"{UNFINISHED}\n")
    if not usable and not make_venv():
        return False
    version = python_version()
    if version is None:
        say(f".venv was made but does not run; remove {VENV} and try again.")
        return False
    locks = [part for path in LEVELS[level] for part in ("-r", path)]
    pins = {pin for path in LEVELS[level] for pin in re.findall(r"^[\w.-]+==", path.read_text(), re.MULTILINE)}
    say(
        f"installing the {level} packages, each checked against its hash in the lock ({DURATION[level]} the first time)"
    )
    code = pip_install(["--require-hashes", *locks], len(pins))
    if not code:
        say("installing waystation itself, editable")
        code = pip_install(["--no-deps", "--no-build-isolation", "--no-index", "--editable", ROOT])
    if code > 0:
        STAMP.unlink()  # pip gave up of its own accord and left things as they were
    if code:
        return False
    known = digests(version)
    held = known.values() if level == "dev" else [known["runtime"]]
    STAMP.write_text("\n".join([str(ROOT), *held]) + "\n")
    return True


def main(level: str) -> int:
    """Make sure that `.venv` holds the level; gives the exit code."""
    if is_current(level):
        return 0
    started = time.monotonic()
    VENV.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
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
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        say("interrupted; the next run makes .venv anew")
        sys.exit(130)
