"""What calls are counted as and what they cost.

The journal, the ledger and the reports are imported where they are used.
"""

from proxy.accounting.book import PriceBook
from proxy.accounting.ceiling import Ceiling
from proxy.accounting.cost import Tariff, bound_nusd, cost_nusd
from proxy.accounting.families import Encoding, encoding_for
from proxy.accounting.periods import Calendar
from proxy.accounting.prices import Prices, PriceTable, Rates
from proxy.accounting.quota_terms import QuotaTerms, name_quota, terms_of
from proxy.accounting.quotas import Allowance, Quotas, Raise, Reserve
from proxy.accounting.ratios import upper_bound_tokens
from proxy.accounting.reserve import Hold, Lengths, Limits, Meter, MeterName, Shortage, shortage
from proxy.accounting.shares import Shares
from proxy.accounting.tally import Tally
from proxy.accounting.tokens import TokenCount, TokenCounter
from proxy.accounting.window import Window

__all__ = [
    "Allowance",
    "Calendar",
    "Ceiling",
    "Encoding",
    "Hold",
    "Lengths",
    "Limits",
    "Meter",
    "MeterName",
    "PriceBook",
    "PriceTable",
    "Prices",
    "QuotaTerms",
    "Quotas",
    "Raise",
    "Rates",
    "Reserve",
    "Shares",
    "Shortage",
    "Tally",
    "Tariff",
    "TokenCount",
    "TokenCounter",
    "Window",
    "bound_nusd",
    "cost_nusd",
    "encoding_for",
    "name_quota",
    "shortage",
    "terms_of",
    "upper_bound_tokens",
]
