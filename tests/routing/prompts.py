"""Prompts with a label, written for these tests: pairs in English and Chinese, and some that no one tuned on."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Label = Literal["simple", "medium", "hard"]


class Pair(NamedTuple):
    """One prompt in two languages."""

    label: Label
    english: str
    chinese: str


_CODE: Final = """
```python
# store.py
class Store:
    def __init__(self, path):
        self.path = path
        self.rows = {}

    def put(self, key, value):
        self.rows[key] = value
        with open(self.path, "w") as f:
            f.write(repr(self.rows))

    def get(self, key, default=None):
        return self.rows.get(key, default)

# service.py
import threading
from store import Store

class Service:
    def __init__(self):
        self.store = Store("/var/lib/app/data")
        self.lock = threading.Lock()

    def handle(self, request):
        with self.lock:
            if request["op"] == "put":
                self.store.put(request["key"], request["value"])
                return {"ok": True}
            return {"ok": True, "value": self.store.get(request["key"])}
```
"""
_GO: Final = """
```go
func (p *Pool) Get(ctx context.Context) (*Conn, error) {
    p.mu.Lock()
    for len(p.free) == 0 {
        p.cond.Wait()
        if err := ctx.Err(); err != nil {
            return nil, err
        }
    }
    c := p.free[len(p.free)-1]
    p.free = p.free[:len(p.free)-1]
    p.mu.Unlock()
    return c, nil
}
```
"""

PAIRS: Final = (
    # -- simple --
    Pair("simple", "Hello!", "你好！"),
    Pair("simple", "What is the capital of France?", "法国的首都是哪里？"),
    Pair("simple", "Translate 'good morning' into Spanish.", "把“早上好”翻译成西班牙语。"),
    Pair("simple", "Who wrote Pride and Prejudice?", "《傲慢与偏见》是谁写的？"),
    Pair("simple", "Tell me a joke about cats.", "给我讲一个关于猫的笑话。"),
    Pair("simple", "What is 12 times 7?", "12 乘以 7 等于多少？"),
    Pair("simple", "Thanks, that was very helpful.", "谢谢，很有帮助。"),
    Pair("simple", "Give me a synonym for happy.", "给我一个“快乐”的近义词。"),
    Pair("simple", "How many days are there in a leap year?", "闰年有多少天？"),
    Pair(
        "simple",
        "Fix the spelling: 'I recieved teh parcel yesterday and it was wunderful.'",
        "改正错别字：“我咋天收到了包裹，非长高兴。”",
    ),
    Pair(
        "simple",
        "Write a short birthday greeting for my colleague Anna, who likes gardening.",
        "给我的同事安娜写一段简短的生日祝福，她喜欢园艺。",
    ),
    Pair("simple", "What is the weather usually like in Lisbon in May?", "里斯本五月的天气通常怎么样？"),
    # -- medium --
    Pair(
        "medium",
        "Write a Python function that returns the n-th Fibonacci number, with a short docstring.",
        "写一个 Python 函数，返回第 n 个斐波那契数，并附上简短的文档字符串。",
    ),
    Pair(
        "medium",
        "Explain the difference between TCP and UDP, and give an example of when to use each.",
        "解释 TCP 和 UDP 的区别，并各举一个适用场景的例子。",
    ),
    Pair(
        "medium",
        "Summarise the following notes in three bullet points: we met the supplier on Monday, the price rises by four "
        "per cent from July, delivery stays at two weeks, and they asked for a longer contract in return for "
        "a discount "
        "on the larger boxes. Paul will answer them by Friday and keep the warehouse informed.",
        "把下面的记录总结成三个要点：我们周一见了供应商，价格从七月起上涨百分之四，交货期仍为两周，"
        "他们希望签更长的合同，"
        "作为交换，大号箱子可以打折。保罗将在周五之前答复他们，并通知仓库。",
    ),
    Pair(
        "medium",
        "Why does bread become hard when it is left in the open air, while biscuits become soft?",
        "为什么面包放在空气中会变硬，而饼干会变软？",
    ),
    Pair(
        "medium",
        "Write an e-mail to a customer whose order is delayed by a week. Apologise, say why, and offer a voucher.",
        "给一位订单延迟一周的客户写一封邮件。道歉，说明原因，并提供一张代金券。",
    ),
    Pair(
        "medium",
        "Write a SQL query that lists the ten customers with the highest total of orders in the last year.",
        "写一条 SQL 查询，列出过去一年订单总额最高的十位客户。",
    ),
    Pair(
        "medium",
        "Compare the advantages and disadvantages of renting and buying a flat for a young couple.",
        "比较一对年轻夫妇租房和买房的优点与缺点。",
    ),
    Pair(
        "medium",
        "A train leaves at 9:40 and travels 210 km at 84 km/h. When does it arrive? Show the calculation.",
        "一列火车 9:40 出发，以 84 km/h 的速度行驶 210 km。它什么时候到达？请写出计算过程。",
    ),
    # -- hard --
    Pair(
        "hard",
        "Prove that the square root of 2 plus the square root of 3 is irrational.",
        "证明根号 2 加根号 3 是无理数。",
    ),
    Pair(
        "hard",
        "Prove by induction that every connected graph with n vertices has at least n - 1 edges, and show where the "
        "proof fails if the graph is not connected.",
        "用数学归纳法证明每个有 n 个顶点的连通图至少有 n - 1 条边，并指出图不连通时证明在哪里失效。",
    ),
    Pair(
        "hard",
        "Let $f(x) = \\int_0^x e^{-t^2} dt$. Derive the Taylor series of $f$ at 0, determine its radius of "
        "convergence, "
        "and bound the error of the first five terms on $[0, 1]$.",
        "设 $f(x) = \\int_0^x e^{-t^2} dt$。推导 $f$ 在 0 处的泰勒级数，求其收敛半径，并估计前五项在 $[0, "
        "1]$ 上的误差上界。",
    ),
    Pair(
        "hard",
        "Refactor these two files so that writes survive a crash, several processes can share the store, and reads "
        "never wait for writes. Keep the public API, add tests, and explain the trade-offs." + _CODE,
        "重构这两个文件：写入在崩溃后不丢失，多个进程可以共享存储，读取永远不等待写入。保持公共接口不变，"
        "补充测试，并说明其中的权衡。" + _CODE,
    ),
    Pair(
        "hard",
        "This connection pool sometimes deadlocks under load. Find every bug, explain step by step how each "
        "can happen, "
        "and rewrite it so that a cancelled context never leaks the lock." + _GO,
        "这个连接池在高负载下有时会死锁。找出所有缺陷，逐步说明每个缺陷是如何发生的，并重写它，使被取消的 "
        "context 不会泄漏锁。" + _GO,
    ),
    Pair(
        "hard",
        "Design the migration of a monolithic shop to services without downtime. Cover: 1. the order in "
        "which parts are "
        "split off, 2. how data stay consistent while both systems write, 3. how to roll back at each step, "
        "4. the risks "
        "and how you would measure them. Compare at least two strategies and justify your choice.",
        "设计一个把单体商城迁移到微服务且不停机的方案。需要包括：1. 各部分拆分的顺序，2. "
        "两个系统同时写入时如何保持数据一致，"
        "3. 每一步如何回滚，4. 风险以及如何衡量。比较至少两种策略，并论证你的选择。",
    ),
    Pair(
        "hard",
        "Derive the closed-form solution of ridge regression, prove that it is unique for every lambda > 0, "
        "and analyse "
        "how bias and variance change as lambda grows.",
        "推导岭回归的闭式解，证明对任意 lambda > 0 它都是唯一的，并分析偏差和方差如何随 lambda 增大而变化。",
    ),
    Pair(
        "hard",
        "Plan a twelve-month roadmap for a clinic that wants to replace its paper records: phases, staff "
        "training, budget, "
        "legal requirements, risks and fallback plans. For each phase state the goal, the dependencies and "
        "how success is "
        "measured. The clinic must stay open and must never lose access to a record.",
        "为一家想用电子病历取代纸质病历的诊所制定十二个月的路线图：阶段、员工培训、预算、法律要求、风险和备用方案。"
        "每个阶段都要说明目标、依赖关系以及如何衡量成功。诊所必须保持营业，并且任何时候都不能无法查阅病历。",
    ),
    Pair(
        "hard",
        "Give an algorithm that finds the longest palindromic subsequence of a string in O(n^2) time and O(n) memory. "
        "Prove its correctness and derive its time complexity.",
        "给出一个算法，在 O(n^2) 时间和 O(n) 内存内找出字符串的最长回文子序列。证明其正确性，并推导其时间复杂度。",
    ),
    Pair(
        "hard",
        "Three gods A, B and C are called True, False and Random. Determine who is who by asking three "
        "yes-no questions. "
        "Reason step by step and prove that two questions cannot be enough.",
        "有三位神 A、B、C，分别叫真、假和随机。用三个是非问题判断谁是谁。请逐步推理，并证明两个问题是不够的。",
    ),
    Pair(
        "hard",
        "Implement a distributed rate limiter in Rust with a sliding window, backed by Redis. It must work "
        "when Redis is "
        "away, must never admit more than 5 % above the limit, and needs unit tests and a benchmark. Analyse race "
        "conditions and clock skew, and compare your design with a token bucket.",
        "用 Rust 实现一个基于 Redis 的滑动窗口分布式限流器。Redis 不可用时它必须仍能工作，超出限额不得超过 5 %，"
        "并且需要单元测试和基准测试。分析竞态条件和时钟偏差，并将你的设计与令牌桶进行比较。",
    ),
    Pair(
        "hard",
        "Evaluate the integral $\\int_0^\\infty \\frac{\\sin x}{x} dx$ in two different ways and justify "
        "every exchange of "
        "limit and integral.",
        "用两种不同的方法计算积分 $\\int_0^\\infty \\frac{\\sin x}{x} dx$，并严格论证每一次极限与积分的交换。",
    ),
)

#: Never used to choose the words and weights of `routing/complexity.py`: tuned on, they would say nothing any more.
UNSEEN_SIMPLE: Final = (
    "What's the boiling point of water?",
    "Spell 'necessary'.",
    "Turn this into title case: the old man and the sea",
    "Which is bigger, Earth or Mars?",
    "Write a two-line poem about rain.",
    "How old is the universe?",
    "Say hello in Japanese.",
    "What does HTTP stand for?",
    "Remind me what a noun is.",
    "Suggest a name for a black dog.",
    "How do I print in Java?",
    "写两句关于雨的诗。",
    "HTTP 是什么的缩写？",
    "地球和火星哪个更大？",
    "水的沸点是多少？",
    "用日语说你好。",
    "给一只黑狗起个名字。",
    "怎么在 Excel 里求和？",
    "把这句话翻译成英文：今天很冷。",
    "长城有多长？",
)
UNSEEN_HARD: Final = (
    "Show there is no continuous bijection from the circle to the line.",
    ("Reverse-engineer this binary format from the three hex dumps below and write a decoder with round-trip checks."),
    "Write a garbage collector for a toy Lisp: generational, incremental, with write barriers, in C.",
    (
        "Our A/B test shows +3% conversion but revenue fell; enumerate the possible explanations, say what "
        "data would separate them, and propose the follow-up experiments."
    ),
    "Compute the expected number of rolls of a die until every face has appeared at least twice.",
    (
        "Convert this 2,000-line class into smaller classes with dependency injection, without altering "
        "behaviour, one commit at a time."
    ),
    (
        "Draft a treaty between three states sharing a river, with monitoring, dispute settlement and "
        "drought rules, and check it for loopholes."
    ),
    (
        "Schedule 40 nurses over four weeks with rest rules, holidays and fairness; formulate it as an "
        "integer program and say how to solve it."
    ),
    (
        "Explain why MVCC databases suffer write skew, construct an anomaly under snapshot isolation, and "
        "compare three remedies."
    ),
    "求掷骰子直到每一面至少出现两次所需次数的期望。",
    "用 C 为一个玩具 Lisp 写一个分代、增量、带写屏障的垃圾回收器。",
    "为 40 名护士排四周的班，考虑休息规则、假期和公平性，写成整数规划并说明如何求解。",
    "说明为什么不存在从圆到直线的连续双射。",
    ("我们的 A/B 测试转化率提高了 3%，收入却下降了；列出所有可能的解释，说明用什么数据加以区分，并提出后续实验。"),
    "把这个两千行的类拆成带依赖注入的小类，不改变行为，每次提交一步。",
    "解释 MVCC 数据库为什么会出现写偏斜，在快照隔离下构造一个异常，并比较三种补救办法。",
)
