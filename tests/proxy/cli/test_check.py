import json
import os
import sys
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.config import json_schema

GOOD = """\
version: 1
providers: {p: {kind: demo}}
models: {chat: {cache: {semantic: {ttl: 1h}}, targets: [{provider: p, model: m}]}}
teams: {t: {keys: [{name: k, key: sk-way-0123456789}]}}
server: {trusted_proxies: [10.0.0.0/8]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(GOOD)
    return path


def test_a_config_that_holds_is_summed_up_with_its_warnings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{file}: holds: 1 provider, 1 model, 1 team, 1 warning; hash ")
    assert err.startswith(f"warning: {file}:5:10: server.trusted_proxies: accepted, but this version")


def test_faults_are_printed_and_the_exit_code_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("provider: p", "provider: q").replace("version: 1", "version: 3"))
    assert main(["check", "--config", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{file}:1:10: version: expected 1",
        f"{file}:3:68: models.chat.targets[0].provider: there is no such provider (known: p)",
        f"{file}: 2 faults",
    ]


def test_a_program_can_read_the_report(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--config", str(file)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["faults"], report["warnings"][0]["line"]) == (True, [], 5)
    file.write_text("version: 1\nx: 1\n")
    assert main(["check", "--json", "--config", str(file)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["config_hash"]) == (False, None)
    assert report["faults"][0]["path"] == ""


def test_a_report_has_what_every_target_costs_and_who_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provider = "{p: {kind: openai, api_key: sk-abcdefabcdefabcdef}}"
    targets = "{provider: p, model: gpt-4o}, {provider: p, model: gpt-99}"
    file.write_text(GOOD.replace("{p: {kind: demo}}", provider).replace("{provider: p, model: m}", targets))
    assert main(["check", "--json", "--config", str(file)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [warning["path"] for warning in report["warnings"]] == [
        "models.chat.targets[1]",
        "server.trusted_proxies",
    ]
    priced, unpriced = report["prices"]
    assert (priced["model"], priced["target"], priced["source"]) == ("chat", "p/gpt-4o", "table")
    assert (priced["usd_per_mtok"]["input"], priced["usd_per_mtok"]["output"]) == (2.5, 10)
    assert (unpriced["source"], unpriced["usd_per_mtok"]) == (None, None)


def test_what_has_no_price_is_a_fault_where_the_config_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace("{kind: demo}", '{kind: openai, base_url: "http://127.0.0.1:1/v1"}')
    file.write_text(f"{text}accounting: {{unpriced: refuse}}\n")
    assert main(["check", "--config", str(file)]) == 1
    assert f"{file}:3:57: models.chat.targets[0]: no price is known for it" in capsys.readouterr().err


def test_faults_of_a_report_say_all_that_the_lines_say(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("kind: demo", "kind: demo, knd: 1"))
    assert main(["check", "--json", "--config", str(file)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["faults"] == [
        {
            "file": str(file),
            "line": 2,
            "column": 29,
            "path": "providers.p",
            "message": "unknown key 'knd'",
            "hint": "did you mean 'kind'?",
        }
    ]


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml:1:1: the file cannot be read" in capsys.readouterr().err


def test_a_secret_is_in_no_output(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEAK", "sk-leak-0123456789")
    good = GOOD.replace("key: sk-way-0123456789", 'key: "${LEAK}"')
    for text in (
        good,
        good.replace("model: m", 'model: m, weight: "${LEAK}"').replace("kind: demo", 'kind: "${LEAK}"'),
    ):
        file.write_text(text)
        for arguments in ([], ["--json"]):
            main(["check", "--config", str(file), *arguments])
            out, err = capsys.readouterr()
            assert out + err
            assert "sk-leak" not in out + err


@pytest.mark.parametrize("key", [None, "", "sk-way-0123456789"])
def test_the_embedded_default_holds_with_a_key_and_without(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if key is None:
        monkeypatch.delenv("WAYSTATION_KEY", raising=False)
    else:
        monkeypatch.setenv("WAYSTATION_KEY", key)
    assert main(["check"]) == 0


def test_the_embedded_default_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "3 providers, 3 models, 1 team" in capsys.readouterr().out


def test_the_schema_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == json_schema()
    assert out.endswith("}\n")


@pytest.mark.parametrize("arguments", [[], ["chekc"], ["check", "--nonsense"], ["serve", "--config", "a", "--demo"]])
def test_misuse_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: waystation" in capsys.readouterr().err


def test_a_reader_who_has_seen_enough_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["check", "--schema"]) == 1
