import json
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.config import json_schema

GOOD = """\
version: 1
providers: {p: {kind: demo}}
models: {chat: {strategy: cheapest, targets: [{provider: p, model: m}]}}
teams: {t: {keys: [{name: k, key: sk-way-0123456789}]}}
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
    assert err.startswith(f"warning: {file}:3:17: models.chat.strategy: this version orders targets by round_robin")


def test_faults_are_printed_and_the_exit_code_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("provider: p", "provider: q").replace("version: 1", "version: 3"))
    assert main(["check", "--config", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{file}:1:10: version: Input should be 1",
        f"{file}:3:58: models.chat.targets[0].provider: there is no provider 'q' (known: p)",
        f"{file}: 2 faults",
    ]


def test_a_program_can_read_the_report(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--config", str(file)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["faults"], report["warnings"][0]["line"]) == (True, [], 3)
    file.write_text("version: 1\nx: 1\n")
    assert main(["check", "--json", "--config", str(file)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["config_hash"]) == (False, None)
    assert report["faults"][0]["path"] == ""


def test_the_embedded_default_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "3 providers, 2 models, 1 team" in capsys.readouterr().out


def test_the_schema_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("arguments", [[], ["chekc"], ["check", "--nonsense"], ["serve", "--config", "a", "--demo"]])
def test_misuse_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: waystation" in capsys.readouterr().err
