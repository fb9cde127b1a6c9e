"""The checkout as the house rules see it: every file that git has or would add, and its text."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: What .gitignore leaves out, for a checkout without git: an unpacked archive, a bare container.
_IGNORED = {
    ".git",
    ".venv",
    "__pycache__",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "dist",
    "journal",
}
_IGNORED_SUFFIXES = {".db", ".db-keys", ".db-shm", ".db-wal"}


@cache
def files() -> tuple[str, ...]:
    """Paths relative to the root, sorted; new files that are not ignored count too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.suffix not in _IGNORED_SUFFIXES)
        listed = [str(path) for path in found if not _IGNORED.intersection(path.parts)]
    return tuple(sorted({name for name in listed if name and (ROOT / name).is_file()}))


@cache
def text(name: str) -> str:
    """The text of a file; what is not UTF-8 comes as replacement characters."""
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def python_files(*rooms: str) -> tuple[str, ...]:
    """The Python files below these folders."""
    return tuple(name for name in files() if name.endswith(".py") and name.startswith(rooms))


def code() -> tuple[str, ...]:
    """The Python files that ship."""
    return python_files("proxy/", "routing/")


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text(name), name)


def functions(node: ast.AST, outer: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below the node with its qualified name, nested ones too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{outer}.{child.name}" if outer else child.name
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from functions(child, name)
        else:
            yield from functions(child, outer)
