"""The quantities of a text, so that two ways of writing one are equal: `5 %` and `five percent`, `1,000` and `1000`,
`三天` and `3 days`, `7pm` and `19:00`, `2024-03-05` and `5 March 2024`.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.cache.semantic import lexicon_en, lexicon_zh

#: A value and its unit, as text: ("5", "%"), ("180", "minute"), ("3", "month of the year"); the unit may be "".
Quantity = tuple[str, str]

_UNITS: Final = {
    name: (unit, factor)
    for unit, factor, names in (
        ("%", 1, "% percent pct 个百分点 趴"),
        ("minute", 1, "minute minutes min mins 分钟"),
        ("minute", 60, "hour hours hr hrs h 小时 个小时 钟头 个钟头"),
        ("minute", 1440, "day days 天 日"),
        ("minute", 10080, "week weeks wk wks 周 星期 个星期 礼拜 个礼拜"),
        ("month", 1, "month months 个月"),
        ("month", 12, "year years yr yrs 年"),
        ("second", 1, "second seconds sec secs 秒 秒钟"),
        ("gram", 1, "g gram grams gramme grammes 克"),
        ("gram", 500, "斤"),
        ("gram", 1000, "kg kgs kilo kilos kilogram kilograms 公斤 千克"),
        ("metre", 0.01, "cm centimetre centimetres centimeter centimeters 厘米"),
        ("metre", 1, "metre metres meter meters 米"),
        ("metre", 1000, "km kilometre kilometres kilometer kilometers 公里 千米"),
        ("mile", 1, "mile miles 英里"),
        ("byte", 1, "mb 兆"),
        ("byte", 1024, "gb"),
        ("byte", 1048576, "tb"),
        ("litre", 1, "l litre litres liter liters 升"),
        ("litre", 0.001, "ml millilitre millilitres 毫升"),
        ("usd", 1, "$ usd dollar dollars 美元 美金 刀"),
        ("gbp", 1, "£ gbp pound pounds quid 英镑"),
        ("eur", 1, "€ eur euro euros 欧元 欧"),
        ("cny", 1, "¥ ￥ rmb cny yuan 元 块 块钱 人民币"),
        ("degree", 1, "° degrees degree 度"),
    )
    for name in names.split()
}
_ALTERNATIVES: Final = "|".join(
    sorted((re.escape(unit) for unit in _UNITS if not unit.isascii()), key=len, reverse=True)
)
_ZH: Final = "".join(lexicon_zh.DIGITS) + "".join(lexicon_zh.SCALES)
_WORDS: Final = "|".join(sorted(lexicon_en.NUMBER_WORDS, key=len, reverse=True))
_MONTHS: Final = "|".join(sorted(lexicon_en.MONTHS, key=len, reverse=True))
_WEEKDAYS: Final = "|".join(sorted(lexicon_en.WEEKDAYS, key=len, reverse=True))
_LATIN_UNITS: Final = "|".join(
    sorted((unit for unit in _UNITS if unit.isascii() and unit.isalpha()), key=len, reverse=True)
)

_DATE: Final = re.compile(r"\b(\d{4})[-/](\d{1,2})[-/](\d{1,2})\b|(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]")
_CLOCK: Final = re.compile(
    r"\b(\d{1,2})[:.](\d{2})\s*([ap])\.?m\b|\b(\d{1,2})\s*([ap])\.?m\b|\b(\d{1,2}):(\d{2})\b"
    rf"|(上午|早上|凌晨|中午|下午|晚上|傍晚)?([{_ZH}]{{1,3}}|\d{{1,2}})点(半|(?:[{_ZH}]{{1,3}}|\d{{1,3}})分?)?(?!心|击|评)"
)
_MONTH: Final = re.compile(rf"\b({_MONTHS})\b\.?")
_MAY_BE_VERB: Final = frozenset({"may", "march", "mar"})
_BEFORE_MONTH: Final = re.compile(
    r"(?:\b(?:in|on|by|since|until|till|from|to|last|next|of|for|this|and|before|after)|\d(?:st|nd|rd|th)?)\s$"
)
_ZH_MONTH: Final = re.compile(rf"(?<![个\d{_ZH}])([{_ZH}]{{1,2}}|\d{{1,2}})月(?!球|亮|票)")
_WEEKDAY: Final = re.compile(rf"\b({_WEEKDAYS})(?:s)?\b|(?:周|星期|礼拜)([一二三四五六日天])")
_PERCENT_ZH: Final = re.compile(rf"百分之([{_ZH}]+|\d+(?:\.\d+)?)")
_NUMBER: Final = re.compile(
    r"(?:([$£€¥￥])\s*)?(?<![\w.])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?:\s*(k|bn|million|thousand|hundred|billion|万|亿|千|百)"
    rf"(?![a-z]))?(?:st|nd|rd|th)?(?:\s*(%|°|{_ALTERNATIVES})|[\s-]*({_LATIN_UNITS})\b(?![\s-]old\b)"
    r"|[\s-]?(per cent)\b)?"
)
_WORD: Final = re.compile(
    rf"\b((?:a(?=[\s-](?:dozen|hundred|thousand|million))|{_WORDS}|hundred|thousand|million)(?:[\s-](?:and\s)?(?:{_WORDS}|hundred|thousand|million|billion)){{0,8}})"
    rf"(?:[\s-]+({_LATIN_UNITS}|per cent)\b)?(?![\w])"
)
_ZH_NUMBER: Final = re.compile(
    rf"([{_ZH}]+)(?:(个半|半)?({_ALTERNATIVES}|[个次人位张件台条本份只辆部房室层楼口级岁倍]))?"
)
_FIRST_YEAR: Final = 1000
_SINGLE: Final = frozenset("千百万亿十")


def quantities(text: str) -> frozenset[Quantity]:
    """What is counted, measured or dated in a text that is normalised (NFKC) and in lower case."""
    found: set[Quantity] = set()

    def take(pattern: re.Pattern[str], rest: str) -> str:
        """Reads what a pattern finds, and blanks it."""
        read = _READERS[pattern]

        def replace(match: re.Match[str]) -> str:
            quantity = read(match)
            if quantity is None:
                return match[0]
            found.update(quantity)
            return " "

        return pattern.sub(replace, rest)

    if not _ANY.search(text):
        return frozenset()
    for pattern in _READERS:
        text = take(pattern, text)
    return frozenset(found)


def agree(one: frozenset[Quantity], other: frozenset[Quantity]) -> bool:
    """Do they count the same? A unit that only one side names is taken as meant by the other."""
    left, right = one - other, other - one
    if not left and not right:
        return True
    bare_right = {value for value, unit in right if not unit}
    bare_left = {value for value, unit in left if not unit}
    left_values, right_values = {value for value, _ in left}, {value for value, _ in right}
    return all(value in bare_right if unit else value in right_values for value, unit in left) and all(
        value in bare_left if unit else value in left_values for value, unit in right
    )


def _measured(value: float, unit: str | None) -> Quantity:
    name, factor = _UNITS.get(unit or "", ("", 1.0))
    if unit == "年" and value >= _FIRST_YEAR:
        name, factor = "", 1.0
    return (f"{value * factor:.6g}", name)


def _read_date(match: re.Match[str]) -> list[Quantity]:
    year, month, day = (match[1], match[2], match[3]) if match[1] else (match[4], match[5], match[6])
    found = [(str(int(month)), "month of the year"), (str(int(day)), "")]
    return [*found, (year, "")] if year else found


def _read_clock(match: re.Match[str]) -> list[Quantity] | None:
    hour, minute, half = match[1] or match[4] or match[6] or match[9], match[2] or match[7], match[3] or match[5]
    hours = int(hour) if hour.isdigit() else read_chinese(hour)
    if match[9] is not None:
        said = match[10] or ""
        figure = said.removesuffix("分")
        minute = (
            "30" if said == "半" else figure if figure.isdigit() else str(int(read_chinese(figure))) if figure else None
        )
        half = "p" if match[8] in ("下午", "晚上", "傍晚", "中午") else "a" if match[8] else None
        if match[8] is None and not said and hours in (0, 1):
            return None  # 一点: a little
    if half == "p" and hours < 12:
        hours += 12
    return [(f"{int(hours)}:{int(minute or 0):02d}", "")]


def _read_month(match: re.Match[str]) -> list[Quantity] | None:
    name = match[1]
    if name in _MAY_BE_VERB and not _BEFORE_MONTH.search(match.string[: match.start()]):
        return None
    return [(str(lexicon_en.MONTHS[name]), "month of the year")]


def _read_zh_month(match: re.Match[str]) -> list[Quantity]:
    return [(str(int(match[1]) if match[1].isdigit() else int(read_chinese(match[1]))), "month of the year")]


def _read_weekday(match: re.Match[str]) -> list[Quantity] | None:
    if match[2]:
        return [(str(lexicon_zh.DIGITS.get(match[2], 7)), "day of the week")]
    if match[1] in ("sun", "sat", "mon", "wed"):
        return None  # they are other words too
    return [(str(lexicon_en.WEEKDAYS[match[1]]), "day of the week")]


def _read_percent(match: re.Match[str]) -> list[Quantity]:
    value = float(match[1]) if match[1][0].isdigit() else read_chinese(match[1])
    return [_measured(value, "%")]


def _read_number(match: re.Match[str]) -> list[Quantity]:
    value = float(match[2].replace(",", ""))
    scale = match[3]
    if scale:
        value *= lexicon_en.SCALES.get(scale) or lexicon_zh.SCALES[scale]
    unit = match[1] or match[4] or match[5] or ("%" if match[6] else None)
    return [_measured(value, unit)]


def _read_word(match: re.Match[str]) -> list[Quantity] | None:
    words = [word for word in re.split(r"[\s-]+", match[1]) if word != "and"]
    unit = "%" if match[2] == "per cent" else match[2]
    if words in (["one"], ["a"], ["second"]) and not (unit and words == ["one"]):
        return None  # "which one"
    total, part = 0.0, 0.0
    for word in words:
        if word == "a":
            part = 1
        elif word in lexicon_en.NUMBER_WORDS:
            value = lexicon_en.NUMBER_WORDS[word]
            part = part * value if word == "dozen" and part else part + value
        elif lexicon_en.SCALES[word] == 100:
            part = (part or 1) * 100
        else:
            total, part = total + (part or 1) * lexicon_en.SCALES[word], 0
    return [_measured(total + part, unit)]


def _read_zh_number(match: re.Match[str]) -> list[Quantity] | None:
    signs, half, unit = match[1], match[2], match[3]
    if len(signs) == 1 and (signs in _SINGLE or not unit or (signs == "一" and unit not in _UNITS)):
        return None
    if unit is None and not any(sign in lexicon_zh.DIGITS for sign in signs):
        return None
    return [_measured(read_chinese(signs) + (0.5 if half else 0), unit)]


def read_chinese(signs: str) -> float:
    """The value of Chinese numerals: 二十三, 一百零五, 三万五, 二〇二四."""
    if not any(sign in lexicon_zh.SCALES for sign in signs):
        return float("".join(str(lexicon_zh.DIGITS[sign]) for sign in signs) or "0")
    total, section, digit, last = 0.0, 0.0, 0.0, 1.0
    for sign in signs:
        if sign in lexicon_zh.DIGITS:
            digit = lexicon_zh.DIGITS[sign]
            if not digit:
                last = 10.0
            continue
        scale = float(lexicon_zh.SCALES[sign])
        if scale >= 10_000:
            total, section = total + (section + digit or 1) * scale, 0.0
        else:
            section += (digit or 1) * scale
        digit, last = 0.0, scale
    return total + section + digit * (last / 10 if last > 10 else 1)


_ANY: Final = re.compile(
    rf"[\d{_ZH}]|(?:周|星期|礼拜)[日天]|\b(?:{_MONTHS}|{_WEEKDAYS}|mondays?|{_WORDS}|hundred|thousand|million)\b|sundays|saturdays"
)
_READERS: Final = {
    _PERCENT_ZH: _read_percent,
    _DATE: _read_date,
    _CLOCK: _read_clock,
    _MONTH: _read_month,
    _ZH_MONTH: _read_zh_month,
    _WEEKDAY: _read_weekday,
    _NUMBER: _read_number,
    _WORD: _read_word,
    _ZH_NUMBER: _read_zh_number,
}
