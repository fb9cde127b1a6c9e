"""Our own pairs of questions, English and Chinese, whose answers are known by construction.

`data/made_*.txt` hold families of questions. A family has meanings, and a meaning has ways to say it. Two questions
have the same answer if, and only if, their meaning and all that is filled in are the same. Families for training and
for testing are apart, and so is what is filled in. The same seed gives the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

from benchmarks.semantic.labelled import Pair

Part = Literal["train", "test"]
Language = Literal["en", "zh"]

LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
_DATA: Final = Path(__file__).with_name("data")
_DIGITS: Final = "零一二三四五六七八九"
_WORD_LIST: Final = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_WORDS: Final = _WORD_LIST.split()
_TEN_LIST: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS: Final = _TEN_LIST.split()
#: Before and after a question; none of it changes the answer.
_MANNERS: Final = {
    "en": (("Hi, ", ""), ("", " please"), ("ok so ", ""), ("Quick question: ", ""), ("", " Thanks!")),
    "zh": (("你好，", ""), ("请问", ""), ("", "，谢谢"), ("问一下，", ""), ("麻烦问下", "")),
}
_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Family:
    """Questions that are easily taken for one another."""

    name: str
    part: Part
    slots: tuple[str, ...]
    meanings: tuple[tuple[str, ...], ...]  #: of each: the ways to say it


@dataclass(frozen=True, slots=True)
class Filling:
    """What can stand in a slot."""

    values: tuple[str, ...]
    is_number: bool
    has_words: bool  #: may a number be written out?


def families(language: Language) -> tuple[list[Family], dict[str, Filling]]:
    """What `data/made_*.txt` says."""
    lines = (_DATA / f"made_{language}.txt").read_text(encoding="utf-8").splitlines()
    fillings: dict[str, Filling] = {}
    found: list[tuple[list[str], list[list[str]]]] = []
    for line in lines:
        if line.startswith("@"):
            name, _, values = line[1:].partition(" = ")
            fillings[name] = _filling(values)
        elif line.startswith("["):
            found.append((line.replace("[", "").replace("]", "").split(), [[]]))
        elif line == "--":
            found[-1][1].append([])
        else:
            found[-1][1][-1].append(line)
    return [
        Family(head[0], "train" if head[1] == "train" else "test", tuple(head[2:]), tuple(map(tuple, meanings)))
        for head, meanings in found
    ], fillings


def make(language: Language, part: Part, count: int, seed: int = 1) -> list[Pair]:
    """So many different pairs, half of them with one answer; `group` is the family."""
    rng = Random(f"{language} {part} {seed}")
    known, fillings = families(language)
    chosen = [family for family in known if family.part == part]
    made: dict[tuple[str, str], Pair] = {}
    while len(made) < count:
        family = chosen[len(made) % len(chosen)]
        maker = _Maker(family, language, part, fillings, rng)
        pair = maker.same() if rng.random() < 0.5 else maker.different()
        made.setdefault((pair.a, pair.b), pair)
    return list(made.values())


@dataclass(frozen=True, slots=True)
class _Maker:
    family: Family
    language: Language
    part: Part
    fillings: dict[str, Filling]
    rng: Random

    def same(self) -> Pair:
        """Two ways to say one thing, or one way with other manners, writing or a slip."""
        meaning, values = self.rng.choice(self.family.meanings), self._values()
        for _ in range(_TRIES):
            first, second = self.rng.choice(meaning), self.rng.choice(meaning)
            a, b = self._say(first, values), self._say(second, values)
            if first == second or self.rng.random() < 0.3:
                b = self._disturb(b)
            if a != b:
                return Pair(a, b, True, "near_repeat" if first == second else "paraphrase", self._group)
        return Pair(a, a + " ?", True, "near_repeat", self._group)

    def different(self) -> Pair:
        """Another meaning with the same values, or the same one with another value."""
        values, at = self._values(), self.rng.randrange(len(self.family.meanings))
        meaning = self.family.meanings[at]
        if len(self.family.meanings) > 1 and self.rng.random() < 0.5:
            others = [other for number, other in enumerate(self.family.meanings) if number != at]
            a, b = (
                self._say(self.rng.choice(meaning), values),
                self._say(self.rng.choice(self.rng.choice(others)), values),
            )
            return Pair(a, b, False, "meaning", self._group)
        template = self.rng.choice(meaning)
        changed, kind = self._changed(values, template)
        other_template = template if self.rng.random() < 0.6 else self.rng.choice(meaning)
        return Pair(self._say(template, values), self._say(other_template, changed), False, kind, self._group)

    @property
    def _group(self) -> str:
        return f"{self.language}:{self.family.name}"

    def _choices(self, slot: str) -> tuple[str, ...]:
        return self.fillings[slot].values[0 if self.part == "train" else 1 :: 2]

    def _values(self) -> tuple[str, ...]:
        found: list[str] = []
        for slot in self.family.slots:
            found.append(self.rng.choice([value for value in self._choices(slot) if value not in found]))
        return tuple(found)

    def _changed(self, values: tuple[str, ...], template: str) -> tuple[tuple[str, ...], str]:
        """One of the values that the template says is another one."""
        said = [at for at, name in enumerate(_names(self.family.slots)) if f"{{{name}}}" in template]
        at = self.rng.choice(said)
        slot = self.family.slots[at]
        other = self.rng.choice([value for value in self._choices(slot) if value not in values])
        return (*values[:at], other, *values[at + 1 :]), "number" if self.fillings[slot].is_number else "entity"

    def _say(self, template: str, values: tuple[str, ...]) -> str:
        said = template
        for slot, name, value in zip(self.family.slots, _names(self.family.slots), values, strict=True):
            written = self.fillings[slot].has_words and self.rng.random() < 0.3
            said = said.replace(f"{{{name}}}", spell(int(value), self.language) if written else value)
        return said

    def _disturb(self, text: str) -> str:
        before, after = self.rng.choice(_MANNERS[self.language])
        kinds = [lambda: before + text + after, lambda: text.rstrip("?？"), lambda: text + "?"]
        if self.language == "en":
            kinds += [lambda: text.lower().rstrip("?"), lambda: _slip(text, self.rng)]
        return self.rng.choice(kinds)()


def _names(slots: tuple[str, ...]) -> list[str]:
    """What templates call them: the second of a kind has a 2."""
    return [f"{slot}2" if slot in slots[:at] else slot for at, slot in enumerate(slots)]


def spell(number: int, language: Language) -> str:
    """A number below 100 in words."""
    tens, ones = divmod(number, 10)
    if language == "zh":
        if number < 10:
            return "两" if number == 2 else _DIGITS[number]
        return ("" if tens == 1 else _DIGITS[tens]) + "十" + (_DIGITS[ones] if ones else "")
    if number < 20:
        return _WORDS[number]
    return _TENS[tens - 2] + (f"-{_WORDS[ones]}" if ones else "")


def _filling(text: str) -> Filling:
    if not text.startswith("#"):
        return Filling(tuple(text.split(" | ")), False, False)
    return Filling(tuple(map(str, _numbers(text.lstrip("#")))), True, not text.startswith("##"))


def _numbers(text: str) -> Iterator[int]:
    first, _, last = text.partition("..")
    yield from range(int(first), int(last) + 1) if last else map(int, text.split(","))


def _slip(text: str, rng: Random) -> str:
    """Two letters in the middle of a long lower-case word change places."""
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if len(word) > 6 and word.isalpha() and word.islower()]
    if not long:
        return text.lower()
    at = rng.choice(long)
    place = rng.randrange(2, len(words[at]) - 2)
    word = words[at]
    words[at] = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return " ".join(words)
