"""Nothing unfinished, and nothing of the machine it was made on."""

from __future__ import annotations

import re

from tests.house import tree

# Put together here, so that this file can be checked too.
_UNFINISHED = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "Not" + "ImplementedError"]) + r")\b")
_MACHINE = re.compile(
    r"(?<![\w.])/(?:wo" + r"rk|tmp/pro" + r"be|opt/py" + r"pi|ro" + r"ot|home/\w+)(?:/|\b)|\.\./sha" + "red"
)
_REGISTRIES = re.compile(
    r"\b(?:"
    + "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(?:org|com)", "deb\\.deb" + r"ian\.org"])
    + r")\b"
)
_LEFTOVERS = {"unfinished": _UNFINISHED, "a path of one machine": _MACHINE, "a registry's host": _REGISTRIES}


def leftovers(name: str, source: str) -> list[str]:
    """Each left-over with its place."""
    return [
        f"{name}:{number}: {what}: {found[0]}"
        for number, line in enumerate(source.splitlines(), 1)
        for what, pattern in _LEFTOVERS.items()
        if (found := pattern.search(line))
    ]


def test_nothing_is_left_over() -> None:
    found = [fault for name in tree.files() for fault in leftovers(name, tree.text(name))]
    assert not found, "\n".join(found)


def test_left_overs_are_noticed() -> None:
    bad = [
        "# TO" + "DO: later",
        "raise Not" + "ImplementedError",
        "see ../sha" + "red/x",
        "cd /wo" + "rk/main",
        "https://py" + "pi.org/x",
    ]
    for line in bad:
        assert len(leftovers("a.py", line)) == 1, line
    assert leftovers("a.py", "work/out, /app/work, a.work/x, XXXL, pyproject") == []
