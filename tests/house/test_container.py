"""The Dockerfile, read as a builder would: what it copies is there, it is not root, its ports are the config's."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

from tests.house import tree

Instruction = tuple[str, str]


def stages(dockerfile: str) -> list[list[Instruction]]:
    """The instructions of each stage, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        if name:
            found[-1].append((name, " ".join(rest.split())))
    return found


def only(stage: list[Instruction], name: str) -> str:
    """The argument of the one instruction of this name."""
    (value,) = [rest for instruction, rest in stage if instruction == name]
    return value


def copied(stage: list[Instruction]) -> list[str]:
    """What a stage takes from the checkout."""
    copies = [rest for name, rest in stage if name == "COPY" and not rest.startswith("--from=")]
    return [source for rest in copies for source in rest.split()[:-1]]


def is_sent(path: str, dockerignore: str) -> bool:
    """Does .dockerignore let this file reach the builder? The last matching line decides."""
    sent = True
    for line in dockerignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        pattern = pattern.removeprefix("!").rstrip("/")
        if (
            fnmatch(path, pattern)
            or path.startswith(f"{pattern}/")
            or fnmatch(f"/{path}", pattern.replace("**/", "*/"))
        ):
            sent = negated
    return sent


def test_image_has_two_stages_on_one_pinned_python() -> None:
    build, runtime = stages(tree.text("Dockerfile"))
    base = only(build, "FROM").split()[0]
    assert re.fullmatch(r"python:3\.\d+-slim", base)
    assert only(runtime, "FROM") == base


def test_image_runs_as_a_fixed_user_who_is_not_root() -> None:
    _, runtime = stages(tree.text("Dockerfile"))
    names = [name for name, _ in runtime]
    uid, gid = (int(number) for number in only(runtime, "USER").split(":"))
    assert uid >= 10_000
    assert gid >= 10_000
    assert f"useradd --uid {uid} --gid {gid}" in only(runtime, "RUN")
    assert max(names.index("RUN"), names.index("COPY")) < names.index("USER") < names.index("ENTRYPOINT")


def test_image_starts_in_exec_form_and_stops_on_sigterm() -> None:
    _, runtime = stages(tree.text("Dockerfile"))
    assert json.loads(only(runtime, "ENTRYPOINT")) == ["waystation"]
    assert json.loads(only(runtime, "CMD")) == ["serve"]
    assert only(runtime, "STOPSIGNAL") == "SIGTERM"


def test_health_check_asks_livez_with_what_the_image_has() -> None:
    _, runtime = stages(tree.text("Dockerfile"))
    command = json.loads(only(runtime, "HEALTHCHECK").partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert "'/livez'" in command[2]
    compile(command[2], "healthcheck", "exec")
    assert set(re.findall(r"\bimport ([\w., ]+);", command[2])) == {"http.client, os, sys"}


def test_state_goes_to_a_volume_the_user_owns() -> None:
    _, runtime = stages(tree.text("Dockerfile"))
    folder = only(runtime, "VOLUME")
    assert only(runtime, "WORKDIR") == folder
    assert f"install -d -o waystation -g waystation -m 0750 {folder}" in only(runtime, "RUN")


def test_image_holds_no_build_tools() -> None:
    build, runtime = stages(tree.text("Dockerfile"))
    assert [rest for name, rest in runtime if name == "COPY"] == ["--from=build /opt/waystation /opt/waystation"]
    installs = [rest for name, rest in build if name == "RUN" and "requirements.lock" in rest]
    assert installs == [
        "python -m venv --without-pip /opt/waystation && pip --python /opt/waystation/bin/python install "
        "--require-hashes -r requirements.lock"
    ]


def test_all_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    build, _ = stages(tree.text("Dockerfile"))
    ignore = tree.text(".dockerignore")
    for source in copied(build):
        below = [name for name in tree.files() if name == source or name.startswith(f"{source}/")]
        assert below, source
        assert all(is_sent(name, ignore) for name in below), source


def test_what_the_image_does_not_need_is_not_sent() -> None:
    ignore = tree.text(".dockerignore")
    for name in (".git/config", ".venv/bin/python", "tests/calls.py", "proxy/__pycache__/call.pyc", "waystation.db"):
        assert not is_sent(name, ignore), name


def test_ports_are_those_of_the_config() -> None:
    _, runtime = stages(tree.text("Dockerfile"))
    environment = next(rest for name, rest in runtime if name == "ENV")
    config = tree.text("config.yaml")
    for key, setting in (("WAYSTATION_LISTEN", "listen"), ("WAYSTATION_ADMIN_LISTEN", "admin_listen")):
        (port,) = re.findall(rf"\b{key}=0\.0\.0\.0:(\d+)", environment)
        assert re.search(rf"\b{setting}: *[\"']?\$\{{{key}:-127\.0\.0\.1:{port}\}}", config), key
        assert port in only(runtime, "EXPOSE").split()


def test_instructions_are_read_over_continued_lines_and_comments() -> None:
    text = "# x\nFROM a AS b\nRUN one \\\n  # why\n  && two\nCOPY x y ./\n\nFROM c\nCOPY --from=b /o /o\n"
    first, second = stages(text)
    assert first == [("FROM", "a AS b"), ("RUN", "one && two"), ("COPY", "x y ./")]
    assert copied(first) == ["x", "y"]
    assert copied(second) == []


def test_dockerignore_patterns_are_followed() -> None:
    ignore = "*\n!proxy\n**/*.pyc\n"
    assert is_sent("proxy/call.py", ignore)
    assert not is_sent("README.md", ignore)
    assert not is_sent("proxy/x/call.pyc", ignore)
    assert is_sent("README.md", "# *\n")
