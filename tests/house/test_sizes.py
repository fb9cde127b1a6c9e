"""One file, one idea: files and functions stay small."""

from __future__ import annotations

import ast

from tests.house import tree

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50

#: file, or file:function, that may be larger -> why
LARGER: dict[str, str] = {"proxy/errors.py": "one table: every way a call can fail, in one place"}


def oversized(name: str, source: str) -> dict[str, int]:
    """What is too large in this source -> its lines."""
    lines = len(source.splitlines())
    found = {name: lines} if lines > MAX_FILE_LINES else {}
    for function, node in tree.functions(ast.parse(source)):
        size = (node.end_lineno or node.lineno) - node.lineno + 1
        if size > MAX_FUNCTION_LINES:
            found[f"{name}:{function}"] = size
    return found


def test_files_and_functions_are_within_their_limits() -> None:
    found = {place: size for name in tree.code() for place, size in oversized(name, tree.text(name)).items()}
    assert found.keys() <= LARGER.keys(), found


def test_exceptions_to_the_limits_are_still_needed() -> None:
    found = {place for name in tree.code() for place in oversized(name, tree.text(name))}
    assert LARGER.keys() <= found


def test_a_long_function_and_a_long_file_are_noticed() -> None:
    method = "class A:\n    def f(self):\n" + "        x = 1\n" * MAX_FUNCTION_LINES
    assert oversized("a.py", method) == {"a.py:A.f": MAX_FUNCTION_LINES + 1}
    assert oversized("a.py", "x = 1\n" * (MAX_FILE_LINES + 1)) == {"a.py": MAX_FILE_LINES + 1}
    assert oversized("a.py", "x = 1\n" * MAX_FILE_LINES) == {}
