"""Questions in English and Chinese made from templates, for measurements that need many different texts with close
neighbours: 7 million of them, each by its number, always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: Ways of asking for the same: by language, then by intent. `{thing}`, `{place}` and `{detail}` are filled in.
_ENGLISH: Final[Sequence[tuple[str, str]]] = (
    (
        "How do I cancel my {thing} in {place}{detail}?",
        "What are the steps to end a {thing} contract in {place}{detail}?",
    ),
    ("How much does a {thing} cost in {place}{detail}?", "What is the price of a {thing} in {place}{detail}?"),
    ("Where can I buy a used {thing} near {place}{detail}?", "Second-hand {thing}s for sale in {place}{detail}"),
    ("Is it legal to own a {thing} in {place}{detail}?", "Does {place} allow people to have a {thing}{detail}?"),
    (
        "My {thing} from {place} stopped working{detail}, what now?",
        "How can I repair a {thing} bought in {place}{detail}?",
    ),
    (
        "Can I return a {thing} to a shop in {place}{detail}?",
        "Is it too late to send back a {thing} to {place}{detail}?",
    ),
    ("Which {thing} is best in {place}{detail}?", "Recommend a {thing} for {place}{detail}"),
    (
        "How long does shipping a {thing} to {place} take{detail}?",
        "When will a {thing} sent to {place} arrive{detail}?",
    ),
)
_CHINESE: Final[Sequence[tuple[str, str]]] = (
    ("在{place}{detail}怎样取消我的{thing}？", "{place}的{thing}合同{detail}要如何终止？"),
    ("{place}的{thing}{detail}要多少钱？", "在{place}{detail}，{thing}的价格是多少？"),
    ("在{place}哪里能买到二手{thing}，{detail}？", "{place}附近{detail}的旧{thing}去哪买？"),
    ("在{place}{detail}可以拥有{thing}吗？", "{place}允许{detail}养或用{thing}吗？"),
    ("在{place}买的{thing}{detail}坏了怎么办？", "{place}的{thing}{detail}出了故障该如何修理？"),
    ("{detail}还能把{thing}退给{place}的店吗？", "{place}的商店{detail}接受退{thing}吗？"),
    ("在{place}{detail}用哪种{thing}最好？", "请推荐一款适合{place}的{thing}，{detail}"),
    ("把{thing}寄到{place}{detail}需要多久？", "发往{place}的{thing}{detail}什么时候能到？"),
)
_DETAILS: Final = (
    *((" for {number} people", "供{number}人使用"), (" with a budget of {number} euros", "预算{number}欧元")),
    *((" after {number} days", "过了{number}天以后"), (" without a licence from {number}", "没有{number}年的许可证")),
    *((" if I am under {number}", "不满{number}岁的话"), (" with my {number} year old son", "带着{number}岁的儿子")),
    *((" on a boat of {number} metres", "在{number}米长的船上"), (" in week {number} of a year", "在今年第{number}周")),
    *((" when it rains {number} days a month", "每月下雨{number}天时"), (" at {number} degrees", "在{number}度的时候")),
    *(
        (" as a student in year {number}", "作为{number}年级的学生"),
        (" from room {number} of a hotel", "从酒店{number}号房间"),
    ),
)
_THINGS: Final = (
    *(("subscription", "订阅"), ("router", "路由器"), ("bicycle", "自行车"), ("parrot", "鹦鹉"), ("drone", "无人机")),
    *(("phone", "手机"), ("insurance", "保险"), ("sofa", "沙发"), ("camera", "相机"), ("washing machine", "洗衣机")),
    *(("violin", "小提琴"), ("tent", "帐篷"), ("laptop", "笔记本电脑"), ("credit card", "信用卡"), ("heater", "暖气")),
    *(("passport", "护照"), ("telescope", "望远镜"), ("motorbike", "摩托车"), ("gym pass", "健身卡"), ("oven", "烤箱")),
)
_PLACES: Final = (
    *(("Berlin", "柏林"), ("Lyon", "里昂"), ("Osaka", "大阪"), ("Boston", "波士顿"), ("Shanghai", "上海")),
    *(("Madrid", "马德里"), ("Cairo", "开罗"), ("Toronto", "多伦多"), ("Lima", "利马"), ("Oslo", "奥斯陆")),
    *(("Seoul", "首尔"), ("Dublin", "都柏林"), ("Vienna", "维也纳"), ("Chengdu", "成都"), ("Nairobi", "内罗毕")),
    *(("Lisbon", "里斯本"), ("Sydney", "悉尼"), ("Prague", "布拉格"), ("Mumbai", "孟买"), ("Warsaw", "华沙")),
)
_NUMBERS: Final = 100
#: A stride that is prime to all these counts: neighbours in number are no neighbours in meaning.
_STRIDE: Final = 1_368_787
_IN_EACH_LANGUAGE: Final = len(_ENGLISH) * len(_THINGS) * len(_PLACES) * len(_DETAILS) * _NUMBERS


def question(number: int, wording: int = 0) -> str:
    """The question of this number (below 7 million), in one of its two wordings. Every second one is Chinese."""
    rest, language = divmod(number, 2)
    rest = rest * _STRIDE % _IN_EACH_LANGUAGE
    rest, intent = divmod(rest, len(_ENGLISH))
    rest, thing = divmod(rest, len(_THINGS))
    rest, place = divmod(rest, len(_PLACES))
    rest, detail = divmod(rest, len(_DETAILS))
    filled = {
        "thing": _THINGS[thing][language],
        "place": _PLACES[place][language],
        "detail": _DETAILS[detail][language].format(number=rest + 3),
    }
    return (_ENGLISH, _CHINESE)[language][intent][wording].format(**filled)
