import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main

DOCS = Path(__file__).parents[3] / "docs" / "routing.md"
CONFIG = """\
version: 1
providers: {p: {kind: openai, base_url: "http://127.0.0.1:1/v1"}}
models:
  chat:
    strategy: cheapest
    slo: {ttft: 10s}
    targets:
      - {provider: p, model: cheap, price_usd_per_mtok: {input: 0.1, output: 0.3}}
      - {provider: p, model: dear, price_usd_per_mtok: {input: 1, output: 3}}
  other: {targets: [{provider: p, model: cheap}]}
teams: {t: {keys: [{name: k, key: sk-way-0123456789}]}}
"""


class Desk:
    """Files to simulate with."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""
        trace = "".join(f"{index * 500},1000,20\n" for index in range(240))
        self.trace = self.write("trace.csv", trace)
        self.old = self.write("old.yaml", CONFIG)
        self.new = self.write("new.yaml", CONFIG.replace("strategy: cheapest", "strategy: fastest"))

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def simulate(self, *arguments: str) -> int:
        code = main(["simulate", *arguments, "--trace", self.trace])
        self.out, self.err = self._capsys.readouterr()
        return code

    def report(self, *arguments: str) -> Any:
        self.simulate(*arguments, "--json")
        return json.loads(self.out)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_every_model_is_tried_and_reported(desk: Desk) -> None:
    assert desk.simulate("--config", desk.old) == 0
    head, other = (line for line in desk.out.splitlines() if line.startswith("model "))
    assert head == f"model chat, cheapest, first token within 10 s; {desk.trace}: 240 requests in 2.0 min"
    assert other.startswith("model other, round_robin,")
    assert "note: assumed latencies compare" in desk.out
    assert desk.err == ""


def test_only_one_model_is_tried_if_asked_for(desk: Desk) -> None:
    assert desk.simulate("--config", desk.old, "--model", "other") == 0
    assert "model chat" not in desk.out


def test_an_edit_for_the_worse_is_told_in_one_line_and_by_the_exit_code(desk: Desk) -> None:
    assert desk.simulate("--config", desk.new, "--against", desk.old, "--model", "chat") == 1
    *_, edit, objection = desk.out.splitlines()
    assert edit.startswith("this edit: cost +")
    assert objection.startswith("worse than tolerated: cost +")
    assert objection.endswith("(at most +10 %)")


def test_an_edit_for_the_better_is_welcome(desk: Desk) -> None:
    assert desk.simulate("--config", desk.old, "--against", desk.new, "--model", "chat") == 0
    assert desk.out.splitlines()[-1].startswith("this edit: cost -")


def test_a_program_can_read_the_report(desk: Desk) -> None:
    report = desk.report("--config", desk.new, "--against", desk.old, "--faults", "standard", "--seeds", "2")
    assert (report["ok"], report["seeds"], report["requests"], report["faults"]) == (False, 2, 240, "standard")
    assert report["tolerance"] == {"success_points": 0.1, "objective_points": 1.0, "cost_pct": 10.0}
    chat, other = report["models"]
    assert (chat["model"], chat["strategy"], chat["targets"][0]["latency"]["source"]) == ("chat", "fastest", "assumed")
    assert chat["new"]["cost_usd"] > chat["old"]["cost_usd"] >= chat["oracle"]["cost_usd"] > 0
    assert len(chat["new"]["phases"]) == 8
    assert chat["new"]["shares_pct"]["p/dear"] > 40
    assert (chat["change"]["cost_pct"] > 10, len(chat["objections"]) > 0) == (True, True)
    assert (other["change"]["cost_pct"], other["objections"]) == (None, [])


def test_a_model_that_is_gone_is_named(desk: Desk) -> None:
    gone = desk.write("gone.yaml", CONFIG.replace("  other: {targets: [{provider: p, model: cheap}]}\n", ""))
    assert desk.simulate("--config", gone, "--against", desk.old) == 0
    assert "only the old config has these models" in desk.out.splitlines()[-1]
    assert desk.report("--config", gone, "--against", desk.old)["dropped_models"] == ["other"]


@pytest.mark.parametrize("which", ["--config", "--against"])
def test_faults_of_a_config_are_printed_as_check_prints_them(desk: Desk, which: str) -> None:
    bad = desk.write("bad.yaml", CONFIG.replace("version: 1", "version: 3"))
    arguments = ["--config", bad] if which == "--config" else ["--config", desk.old, "--against", bad]
    assert desk.simulate(*arguments) == 1
    assert desk.err == f"{bad}:1:10: version: expected 1\n{bad}: 1 fault\n"
    assert desk.out == ""
    report = desk.report(*arguments)
    assert (report["ok"], report["file"], report["faults"][0]["line"]) == (False, bad, 1)


def test_measured_latencies_are_taken_from_a_file(desk: Desk) -> None:
    row = {"target": "p/cheap", "samples": 9, "base_s": 0.25, "per_ktok_s": 0, "sigma": 0.3, "tokens_per_s": None}
    saved = desk.write("targets.json", json.dumps({"targets": [row]}))
    chat = desk.report("--config", desk.old, "--model", "chat", "--targets", saved)["models"][0]
    assert [one["latency"]["source"] for one in chat["targets"]] == ["measured", "assumed"]
    assert chat["targets"][0]["latency"]["base_s"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nope"], "simulate: the config has no model 'nope' (known: chat, other)"),
        (["--targets", "nowhere.json"], "simulate: the file nowhere.json cannot be read"),
    ],
)
def test_misuse_is_told_and_is_no_fault(desk: Desk, arguments: list[str], said: str) -> None:
    assert desk.simulate("--config", desk.old, *arguments) == 2
    assert desk.err.startswith(said)


def test_a_trace_that_is_none_is_misuse(desk: Desk) -> None:
    desk.trace = desk.write("bad.csv", "1,2\n")
    assert desk.simulate("--config", desk.old) == 2
    assert "bad.csv is no trace: line 1" in desk.err


@pytest.mark.parametrize("seeds", ["0", "many", "-1"])
def test_a_count_that_is_none_is_misuse(desk: Desk, seeds: str) -> None:
    with pytest.raises(SystemExit) as caught:
        desk.simulate("--config", desk.old, "--seeds", seeds)
    assert caught.value.code == 2


def test_the_documented_commands_work_as_they_stand(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.write("targets.json", '{"targets": []}')
    Path(desk.trace).rename("mine.csv")
    documented = re.findall(r"^ *waystation (simulate .+)$", DOCS.read_text(), re.MULTILINE)
    assert len(documented) == 2
    for command in documented:
        trace = [] if "--trace" in command else ["--trace", "mine.csv"]
        assert main([*shlex.split(command), *trace]) in (0, 1)


def test_the_help_states_what_is_tolerated(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "0.1 points of success, 1 point of calls within slo.ttft, or 10 percent of the cost" in said
