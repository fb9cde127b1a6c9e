import pytest

from benchmarks.token_ratios import FAMILIES, Sample, errors, fit, load_samples, main
from proxy.accounting.ratios import CLASSES


def sample(text: str, count: int, script: str = "latin") -> Sample:
    return Sample(script, text, {"other": count})


def test_samples_carry_a_count_for_every_family() -> None:
    samples = load_samples()
    assert len(samples) > 300
    assert all(sorted(sample.counts) == sorted(FAMILIES) for sample in samples)


def test_a_fit_finds_the_ratios_that_made_the_counts() -> None:
    texts = [("a" * letters, "中" * signs) for letters in range(100, 900, 200) for signs in range(100, 900, 200)]
    ratios = fit([sample(a + b, len(a) // 4 + len(b)) for a, b in texts], "other")
    found = dict(zip(CLASSES, ratios, strict=False))
    assert (found["lower"], found["han"]) == pytest.approx((0.25, 1.0), abs=0.02)
    assert found["emoji"] == 2.0  # nothing was said of it


def test_errors_are_relative_and_told_apart_by_script() -> None:
    ratios = [0.25] + [0.0] * len(CLASSES)
    found = errors([sample("a" * 400, 80), sample("a" * 400, 125), sample("a" * 40, 10, "code")], "other", ratios)
    assert found["latin"].mean == pytest.approx((0.25 - 0.2) / 2)
    assert found["latin"].median == pytest.approx((0.25 + 0.2) / 2)
    assert found["latin"].p95 == pytest.approx(0.25)
    assert found["code"].median == 0


def test_both_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith('    "') for line in lines) == len(FAMILIES)
    assert sum(line.startswith("| ") for line in lines) == len(FAMILIES) + 1
