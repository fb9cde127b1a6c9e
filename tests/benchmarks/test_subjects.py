"""The table of what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.subjects import SUBJECTS, WAYSTATION, Subject, fill, find, values


def _executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_every_template_is_filled() -> None:
    filled = values(1, 2, 3, Path("/somewhere"))
    for subject in SUBJECTS:
        texts = [*subject.arguments, *subject.files.values(), *subject.environment.values()]
        texts += [value for _, value in subject.headers]
        assert not [text for text in texts if "$" in fill(text, filled)], subject.name


def test_the_gateway_is_asked_with_the_key_of_its_config() -> None:
    filled = values(8080, 9090, 3, Path("/somewhere"))
    config = fill(WAYSTATION.files["waystation.yaml"], filled)
    authorization = dict(WAYSTATION.call("json", filled).headers)["authorization"]
    assert f'key: "{authorization.removeprefix("Bearer ")}"' in config
    assert 'listen: "127.0.0.1:8080"' in config
    assert 'base_url: "http://127.0.0.1:3/v1"' in config


def test_an_executable_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    second = _executable(tmp_path / "b" / "gw")
    _executable(tmp_path / "c" / "gw")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gw").write_text("not executable")
    assert find(Subject("gw", ("gw",), ()), [tmp_path / "a", tmp_path / "b", tmp_path / "c"]) == second


def test_a_common_name_counts_only_where_its_marker_is(tmp_path: Path) -> None:
    _executable(tmp_path / "bin" / "gateway")
    target = _executable(tmp_path / "node_modules" / "@some" / "gateway.js")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "gateway").symlink_to(target)
    subject = Subject("some", ("gateway",), (), marker="@some")
    assert find(subject, [tmp_path / "bin"]) is None
    assert find(subject, [tmp_path / "bin", tmp_path / "links"]) == tmp_path / "links" / "gateway"


@pytest.mark.parametrize("text", ["$5", "cost: $", "$unknown"])
def test_other_dollars_stay(text: str) -> None:
    assert fill(text, {"port": "1"}) == text
