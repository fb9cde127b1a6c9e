"""May the answer of one question be given for another? Pure decisions; embedding and search are elsewhere."""

from proxy.cache.semantic.answers import same_answer
from proxy.cache.semantic.calibrate import NEVER, SERVES_AT_ONCE, Calibrator
from proxy.cache.semantic.eligible import Ineligible, ineligible, question, scope_key
from proxy.cache.semantic.facts import Facts
from proxy.cache.semantic.guards import Veto
from proxy.cache.semantic.verify import Verdict, Verifier

__all__ = [
    "NEVER",
    "SERVES_AT_ONCE",
    "Calibrator",
    "Facts",
    "Ineligible",
    "Verdict",
    "Verifier",
    "Veto",
    "ineligible",
    "question",
    "same_answer",
    "scope_key",
]
