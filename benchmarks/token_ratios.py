"""Fits the ratios of `proxy/accounting/ratios.py` and says how far they are off.

    .venv/bin/python -m benchmarks.token_ratios

prints the table that stands there, and the table of errors in docs/accounting.md. The samples carry their counts, so no
tokenizer is needed and the same samples always give the same ratios: `benchmarks/texts/README.md` says where both come
from. The ratios are fitted on every other sample and measured on the rest.
"""

from __future__ import annotations

import json
import lzma
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.accounting.families import Family
from proxy.accounting.ratios import CLASSES, profile

_SAMPLES: Final = Path(__file__).parent / "texts" / "samples.jsonl.xz"
FAMILIES: Final[tuple[Family, ...]] = (
    "o200k_base",
    "cl100k_base",
    "claude",
    "deepseek",
    "gemini",
    "llama",
    "qwen",
    "other",
)
#: What a class is held to where the samples say nothing of it, in tokens a character; and how strongly.
_GUESSES: Final = {"emoji": 2.0, "symbol": 1.0, "digit": 0.5, "punctuation": 0.5}
_GUESS: Final = 0.3
_PULL: Final = 1e-4
_ROUNDS: Final = 1500
#: No character is for nothing, whatever few samples say.
_LEAST: Final = 0.1
#: Most prompts are English or code: a sample of these counts as several of another script.
_WEIGHTS: Final = {"english": 4.0, "code": 2.0}
_INDENT: Final = len(CLASSES)


@dataclass(frozen=True, slots=True)
class Sample:
    """A text of some 1,000 characters."""

    script: str
    text: str
    counts: dict[Family, int]  #: by the family's own tokenizer; `other` is the mean of all


@dataclass(frozen=True, slots=True)
class Error:
    """How far estimates are off, relative to the count."""

    samples: int
    median: float
    p95: float
    mean: float  #: with its sign: above zero they are too high


def load_samples() -> list[Sample]:
    """Every sample, in a fixed order."""
    with lzma.open(_SAMPLES, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Sample(row["script"], row["text"], {**row["counts"], "other": round(statistics.mean(row["counts"].values()))})
        for row in rows
    ]


def fit(samples: Iterable[Sample], family: Family) -> tuple[float, ...]:
    """The ratios with the least squares of relative errors, none below a tenth but the indent's; to two places."""
    rows = []
    for sample in samples:
        weight, count = _WEIGHTS.get(sample.script, 1.0), sample.counts[family]
        rows.append((weight, [number / count for number in profile(sample.text)]))
    width = range(len(CLASSES) + 1)
    products = [[sum(weight * row[i] * row[j] for weight, row in rows) for j in width] for i in width]
    sums = [sum(weight * row[i] for weight, row in rows) for i in width]
    pull = _PULL * max(products[i][i] for i in width)
    guesses = [_GUESSES.get(name, _GUESS) for name in CLASSES] + [0.0]
    ratios = list(guesses)
    for _ in range(_ROUNDS):
        for i in width:
            rest = sums[i] - sum(products[i][j] * ratios[j] for j in width if j != i)
            ratios[i] = (rest + pull * guesses[i]) / (products[i][i] + pull)
            if i != _INDENT:
                ratios[i] = max(_LEAST, ratios[i])
    return tuple(round(ratio, 2) for ratio in ratios)


def errors(samples: Sequence[Sample], family: Family, ratios: Sequence[float]) -> dict[str, Error]:
    """How far these ratios are off, by script."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        estimate = sum(count * ratio for count, ratio in zip(profile(sample.text), ratios, strict=True))
        found.setdefault(sample.script, []).append(estimate / sample.counts[family] - 1)
    return {script: _error(values) for script, values in found.items()}


def _error(values: list[float]) -> Error:
    sizes = sorted(abs(value) for value in values)
    p95 = sizes[min(len(sizes) - 1, int(0.95 * len(sizes)))]
    return Error(len(sizes), statistics.median(sizes), p95, statistics.mean(values))


def main() -> None:
    """Print both tables."""
    samples = load_samples()
    learned, held = samples[::2], samples[1::2]
    tables = {}
    for family in FAMILIES:
        ratios = fit(learned, family)
        tables[family] = errors(held, family, ratios)
        print(f'    "{family}": ({", ".join(f"{ratio:g}" for ratio in ratios)}),')
    scripts = list(tables["other"])
    print("\n| Family |", " | ".join(f"{script} ({tables['other'][script].samples})" for script in scripts), "|")
    print("|---" * (len(scripts) + 1) + "|")
    for family, table in tables.items():
        cells = (f"{table[script].median:.0%} / {table[script].p95:.0%}" for script in scripts)
        print(f"| {family} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
