"""What the documents say is so: dependencies and their licences, metrics, commands."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata

from tests.house import tree

MAX_DIRECT_DEPENDENCIES = 19


def direct_dependencies() -> list[str]:
    """Names of the runtime dependencies, as pyproject.toml spells them."""
    project = tomllib.loads(tree.text("pyproject.toml"))["project"]
    return [re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]]


def table(markdown: str) -> list[list[str]]:
    """The cells of every table row, header and rule lines left out."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in markdown.splitlines() if line.startswith("|")
    ]
    return [row for at, row in enumerate(rows) if not set(row[0]) <= {"-", ":"} and not _is_header(rows, at)]


def _is_header(rows: list[list[str]], at: int) -> bool:
    return at + 1 < len(rows) and set(rows[at + 1][0]) <= {"-", ":"}


def metric_names(source: str) -> set[str]:
    """Everything that looks like a metric of ours, without the suffixes that Prometheus adds."""
    return {re.sub(r"_(?:bucket|count|sum|created)$", "", name) for name in re.findall(r"\bllm_[a-z0-9_]+\b", source)}


def _known(name: str, metrics: set[str]) -> bool:
    return name in metrics or name.removesuffix("_total") in metrics  # counters get their suffix when they are shown


def test_every_direct_dependency_is_argued() -> None:
    argued = [row[0].strip("`") for row in table(tree.text("docs/dependencies.md").split("\n## ")[0])]
    assert argued == sorted(direct_dependencies())


def test_direct_dependencies_are_few() -> None:
    assert 0 < len(direct_dependencies()) <= MAX_DIRECT_DEPENDENCIES


def test_licences_are_as_the_packages_state_them() -> None:
    for row in table(tree.text("docs/dependencies.md").split("\n## ")[0]):
        stated = metadata(row[0].strip("`"))
        headers = ("License-Expression", "License", "Classifier")
        said = " ".join(line for header in headers for line in stated.get_all(header) or [])
        for licence in re.findall(r"Apache|MIT|BSD|MPL", row[-1]):
            assert licence in said, row
        assert re.search(r"Apache|MIT|BSD|MPL", row[-1]), row


def test_the_locks_hold_the_direct_dependencies_with_hashes() -> None:
    for lock in ("requirements.lock", "tests/requirements.lock"):
        locked = dict(re.findall(r"^([\w.-]+)==(.+(?:\n    .+)*)", tree.text(lock), re.MULTILINE))
        assert {name.lower() for name in direct_dependencies()} <= locked.keys(), lock
        assert all("--hash=sha256:" in rest for rest in locked.values()), lock


def test_locks_agree_on_versions() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[^\s;]+", tree.text(lock), re.MULTILINE))

    assert pins("requirements.lock") <= pins("tests/requirements.lock")
    assert pins("scripts/build.lock") <= pins("tests/requirements.lock")


def test_documented_metrics_exist() -> None:
    metrics = metric_names("".join(tree.text(name) for name in tree.python_files("proxy/observe/")))
    documents = [name for name in tree.files() if name.endswith(".md")]
    unknown = {name: {m for m in metric_names(tree.text(name)) if not _known(m, metrics)} for name in documents}
    assert metrics
    assert not any(unknown.values()), unknown


def test_metrics_are_recognised_in_prose() -> None:
    assert metric_names("see `llm_requests_total{model}` and llm_overhead_seconds_bucket") == {
        "llm_requests_total",
        "llm_overhead_seconds",
    }
    assert not _known("llm_made_up", {"llm_requests"})
    assert _known("llm_requests_total", {"llm_requests"})


def test_documented_commands_exist() -> None:
    named = {
        (name, command)
        for name in tree.files()
        if name.endswith(".md")
        for command in re.findall(r"(?<![\w/.-])(?:\./)?(scripts/[a-z_]+(?:\.[a-z]+)?)", tree.text(name))
    }
    assert [place for place in sorted(named) if place[1] not in tree.files()] == []
    assert {("README.md", "scripts/serve"), ("README.md", "scripts/test")} <= named


def test_table_rows_are_found_without_their_header() -> None:
    assert table("text\n\n| a | b |\n|---|---|\n| `x` | y |\n| z | w |\n") == [["`x`", "y"], ["z", "w"]]
