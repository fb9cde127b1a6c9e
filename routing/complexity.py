"""How hard a request looks, from its form alone: a hint for tiers, hand-set, the same for English and Chinese.

It reads lengths, signs and a few words; it understands nothing. No model, no learning, no state. A high score is a
sign of work ahead; a low one says only that no sign was seen: of 16 short hard prompts that were kept out of the
tuning, 10 score under 0.3. Whether an answer was good enough is judged elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import log
from types import MappingProxyType
from typing import Final

#: Of a long text only its head and tail are read: the task stands at one end, the material between.
_HEAD_BYTES: Final = 16 * 1024
_TAIL_BYTES: Final = 4 * 1024
#: Messages, and parts of one message, that are looked at.
_MAX_ITEMS: Final = 1000


@dataclass(frozen=True, slots=True)
class Features:
    """What was seen, each 0..1. `length` and `code` to `questions`: in the last message of the user; the others
    in the whole request.
    """

    length: float  #: UTF-8 bytes, 40 to 4,000 on a log scale; in bytes a Chinese text is as long as its translation
    conversation: float  #: all messages together, 2 to 200 kB on a log scale
    turns: float  #: messages of the user beyond the first, full at 16
    code: float  #: fences, indented lines, brackets, keywords
    maths: float  #: LaTeX, formulas, words of mathematics
    reasoning: float  #: prove, derive, step by step; less for why, compare, explain
    work: float  #: design, refactor, migrate, plan: many steps to a result
    demands: float  #: conditions that the answer must keep
    questions: float  #: sub-questions and list items
    tools: float  #: how many, full at 16
    structure: float  #: JSON asked for; a schema counts in full
    images: float  #: any


#: How much each feature can do alone: seen in full, it closes this share of what is left up to 1.
WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "length": 0.50,
        "conversation": 0.25,
        "turns": 0.15,
        "code": 0.50,
        "maths": 0.40,
        "reasoning": 0.65,
        "work": 0.50,
        "demands": 0.30,
        "questions": 0.35,
        "tools": 0.30,
        "structure": 0.15,
        "images": 0.15,
    }
)


def complexity(request: Mapping[str, object]) -> float:
    """0..1 from a parsed chat request: below 0.3 simple, above 0.8 hard. Never raises, whatever JSON stands where.

    1 - Π(1 - weight · feature): each feature is one more reason why the request may be hard, and more reasons never
    make it easier.
    """
    seen = features(request)
    easy = 1.0
    for name, weight in WEIGHTS.items():
        easy *= 1.0 - weight * getattr(seen, name)
    return 1.0 - easy


def features(request: Mapping[str, object]) -> Features:
    """What `complexity` is made of, to be shown. Never raises. Cost: one pass over at most 20 KB of text."""
    users, chars, images, last = _survey(request.get("messages"))
    text = _ends(last)
    text_bytes = len(text.encode("utf-8", "replace"))
    bytes_per_char = text_bytes / len(text) if text else 1.0
    lowered = text.lower()
    words = set(lowered.encode("ascii", "replace").translate(_TO_WORDS).decode().split())
    han = frozenset(_HAN.findall(lowered)) if not text.isascii() else frozenset[str]()
    tools = _count(request.get("tools")) or _count(request.get("functions"))
    return Features(
        length=_between(len(last) * bytes_per_char, 40, 4_000),
        conversation=_between(chars * bytes_per_char, 2_000, 200_000),
        turns=_between(users, 1, 16),
        code=_code(text, words, han),
        maths=_maths(text, words, han),
        reasoning=_reasoning(lowered, words, han),
        work=_saturate(len(words & _WORK) + len(han & _WORK_HAN), 3),
        demands=_saturate(len(words & _DEMANDS) + len(han & _DEMANDS_HAN), 4),
        questions=_questions(text),
        tools=_between(tools + 1, 1, 17),
        structure=_structure(request.get("response_format")),
        images=1.0 if images else 0.0,
    )


# -- what the words are --


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: All but small letters to spaces: translating bytes and splitting costs half of what `re.findall` does.
_TO_WORDS: Final = bytes(byte if 97 <= byte <= 122 else 32 for byte in range(256))
_STRONG: Final = _listed(
    "prove proof proves disprove derive derivation deduce induction contradiction theorem lemma corollary "
    "conjecture counterexample rigorous rigorously justify justification correctness deadlock deadlocks "
    "undecidable optimality necessary sufficient irrational asymptotic"
)
_MILD: Final = _listed(
    "why how explain compare comparison analyse analyze analysis evaluate assess critique argue reason "
    "reasoning infer determine investigate interpret tradeoff implications consequences causes difference "
    "differences advantages disadvantages pros cons strategies hypothesis solve show recommend consider interpretation"
)
_PHRASES: Final = (
    "show that",
    "find all",
    "step by step",
    "step-by-step",
    "trade-off",
    "think carefully",
    "chain of thought",
    "root cause",
)
_WORK: Final = _listed(
    "design architect architecture refactor restructure migrate migration implement rewrite optimise optimize "
    "debug diagnose algorithm algorithms distributed concurrent concurrency scalable consistency transaction "
    "protocol compiler roadmap plan strategy phases phase milestones dependencies rollback roll downtime "
    "benchmark benchmarks tests simulate evaluate integrate deploy pipeline schema bugs bug leak budget risks "
    "requirements complexity build develop draft port engine system application model models modules specification "
    "formal checker parser interpreter library framework server logs config routes legal regulation"
)
_DEMANDS: Final = _listed(
    "must never without unless least exactly ensure every each keep only require requires constraint "
    "constraints assume cannot both including measured all complete full keeping"
)
_MATHS: Final = _listed(
    "integral integrals derivative derivatives matrix matrices eigenvalue eigenvalues eigenvector polynomial "
    "polynomials theorem lemma converge converges convergence series calculus modulo prime primes vertices "
    "vertex graph lambda probability expectation variance bijection topology manifold regression logarithm "
    "equation equations inequality irrational rational induction limit integer integers divisible coefficient "
    "coefficients"
)
_KEYWORDS: Final = _listed(
    "def elif const func fn impl struct println printf async await nullptr enum void bool stdio iostream "
    "varchar typedef namespace lambda isinstance kwargs argv stderr int str len nil chan goroutine mutex std "
    "usize malloc"
)
_LANGUAGES: Final = _listed(
    "python javascript typescript java kotlin golang rust ruby php sql bash regex html css json yaml function "
    "query script class api code coding program programming redis postgres docker kubernetes react"
)
_STRONG_HAN: Final = _listed("证明 推导 反证 归纳法 定理 引理 反例 严格 论证 正确性 死锁 充分必要 最优性 无理数")
_MILD_HAN: Final = _listed(
    "为什么 为何 如何 怎么 怎样 解释 比较 对比 分析 评估 评价 判断 区别 差异 优缺点 优点 缺点 原因 推断 推理 "
    "影响 说明 策略 求解 考虑 建议"
)
_PHRASES_HAN: Final = _listed("逐步 一步一步 一步步 权衡 取舍 仔细思考 深入 根本原因")
_WORK_HAN: Final = _listed(
    "设计 架构 重构 迁移 实现 重写 优化 调试 诊断 算法 分布式 并发 可扩展 一致 事务 协议 编译器 路线图 规划 "
    "计划 方案 阶段 依赖 回滚 停机 基准测试 测试 模拟 部署 集成 流水线 缺陷 泄漏 预算 风险 需求 要求 复杂度 "
    "竞态 构建 开发 起草 引擎 系统 应用 模型 模块 规范 形式化 解析器 "
    "框架 服务器 日志 配置 路由 法律 监管 拆分 建立"
)
_DEMANDS_HAN: Final = _listed(
    "必须 不能 不得 至少 至多 确保 保证 保持 每个 每一 任意 任何 只能 除非 恰好 需要 不停 永远 同时 "
    "包括 要求 假设 约束 所有 完整 彻底"
)
_MATHS_HAN: Final = _listed(
    "积分 导数 矩阵 特征值 特征向量 多项式 定理 引理 收敛 级数 微积分 质数 素数 顶点 概率 期望 方差 拓扑 回归 "
    "对数 方程 不等式 无理数 有理数 归纳法 极限 整数 整除 系数 泰勒"
)
_LANGUAGES_HAN: Final = _listed("代码 函数 编程 程序 脚本 接口 查询 正则 数据库")
#: Longer words first, or the shorter would hide them.
_HAN: Final = re.compile(
    "|".join(
        sorted(
            _STRONG_HAN | _MILD_HAN | _PHRASES_HAN | _WORK_HAN | _DEMANDS_HAN | _MATHS_HAN | _LANGUAGES_HAN,
            key=lambda word: (-len(word), word),
        )
    )
)
# The next three begin with a set of characters and look back from there: `re` skips to such a set ten times as fast as
# it tries an alternation at each place.
_LATEX: Final = re.compile(
    r"[\\$^O∑∫√≤≥≠∞∀∃∈∂≡]"
    r"(?:(?<=\\)[a-zA-Z]{2,}|(?<=\$)[a-zA-Z][^$\s]{0,80}\$|(?<=\^)[\w{(]|(?<=O)(?<!\wO)\(|(?<=[∑∫√≤≥≠∞∀∃∈∂≡]))"
)
_LATEX_SIGNS: Final = ("\\", "^", "$", "O(")
_FORMULA: Final = re.compile(r"[=<>+*/^-] ?(?:[\d(]|(?<![-*/]) ?[a-z]\b)")
_LIST_ITEM: Final = re.compile(
    r"[1-9一二三四五六七八九十]"
    r"(?:(?<=[1-9])(?<![\w.][1-9])(?<!\w\([1-9])[.)、）](?=\D)|(?<=[一二三四五六七八九十])[、）)])"
)
_BULLETS: Final = ("\n- ", "\n* ", "\n• ")
_CODE_LINES: Final = ("\n  ", "\n\t", ";\n", "{\n", "}\n", ":\n")


# -- how each feature is read --


def _code(text: str, words: set[str], han: frozenset[str]) -> float:
    is_fenced = "```" in text
    body = _saturate(sum(map(text.count, _CODE_LINES)), 10) if is_fenced or text.count("\n") > 2 else 0.0
    keywords = _saturate(len(words & _KEYWORDS), 2)
    topic = 1.0 if words & _LANGUAGES or han & _LANGUAGES_HAN else 0.0
    signs = sum(map(text.count, "{}()[];=_"))
    density = _saturate(signs, max(8.0, len(text) * 0.06))
    # Prose has brackets and indented lists too: each sign of code alone is worth little.
    return 1.0 - (1 - 0.3 * is_fenced) * (1 - 0.6 * body * density) * (1 - 0.35 * keywords) * (1 - 0.3 * topic)


def _maths(text: str, words: set[str], han: frozenset[str]) -> float:
    signs = 0.0
    if not text.isascii() or any(sign in text for sign in _LATEX_SIGNS):
        signs = _matches(_LATEX, text, 4)
    formulas = _matches(_FORMULA, text, 12)
    terms = _saturate(len(words & _MATHS) + len(han & _MATHS_HAN), 4)
    return 1.0 - (1 - 0.6 * signs) * (1 - 0.3 * formulas) * (1 - 0.8 * terms)


def _reasoning(lowered: str, words: set[str], han: frozenset[str]) -> float:
    strong = len(words & _STRONG) + len(han & _STRONG_HAN)
    phrases = sum(phrase in lowered for phrase in _PHRASES) + len(han & _PHRASES_HAN)
    mild = len(words & _MILD) + len(han & _MILD_HAN)
    return 1.0 - 0.3**strong * 0.5**phrases * 0.8**mild  # each word closes its part of the gap


def _questions(text: str) -> float:
    marks = text.count("?") + text.count("\uff1f")
    bullets = sum(map(text.count, _BULLETS))
    return min(1.0, _saturate(max(0, marks - 1) + bullets, 5) + _matches(_LIST_ITEM, text, 5))


def _structure(response_format: object) -> float:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    return 1.0 if kind == "json_schema" else 0.5 if kind == "json_object" else 0.0


def _matches(pattern: re.Pattern[str], text: str, full: int) -> float:
    """Share of `full` matches; looks no further than that many."""
    return sum(1 for _ in islice(pattern.finditer(text), full)) / full


def _saturate(count: float, full: float) -> float:
    return min(1.0, count / full)


def _between(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, between them on a log scale."""
    return 0.0 if value <= low else min(1.0, log(value / low) / log(high / low))


# -- what is read of the request --


def _ends(text: str) -> str:
    width = 1 if text.isascii() else 3  # bytes of a Chinese character; to count each would take longer than to read it
    head, tail = _HEAD_BYTES // width, _TAIL_BYTES // width
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def _survey(messages: object) -> tuple[int, int, bool, str]:
    """Messages of the user, characters of all text, any images, and the user's last text."""
    users, chars, has_images, last = 0, 0, False, ""
    for message in messages[-_MAX_ITEMS:] if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        text = content if isinstance(content, str) else ""
        if isinstance(content, list):
            parts = [part for part in content[:_MAX_ITEMS] if isinstance(part, dict)]
            text = "\n".join(_texts(parts))
            has_images = has_images or any(part.get("type") == "image_url" for part in parts)
        chars += len(text)
        if message.get("role") == "user":
            users, last = users + 1, text
    return users, chars, has_images, last


def _texts(parts: list[dict[str, object]]) -> Iterator[str]:
    for part in parts:
        if part.get("type") == "text" and isinstance(text := part.get("text"), str):
            yield text


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 0
