"""What calls are counted as and what they cost.

The journal and the ledger are imported where they are used: until calls are written to them, no server loads SQLite.
"""

from proxy.accounting.book import PriceBook
from proxy.accounting.cost import Tariff, bound_nusd, cost_nusd
from proxy.accounting.families import Encoding, encoding_for
from proxy.accounting.prices import Prices, PriceTable, Rates
from proxy.accounting.ratios import upper_bound_tokens
from proxy.accounting.reserve import Hold, Lengths, Limits, Meter, MeterName, Shortage, shortage
from proxy.accounting.tokens import TokenCount, TokenCounter
from proxy.accounting.window import Window

__all__ = [
    "Encoding",
    "Hold",
    "Lengths",
    "Limits",
    "Meter",
    "MeterName",
    "PriceBook",
    "PriceTable",
    "Prices",
    "Rates",
    "Shortage",
    "Tariff",
    "TokenCount",
    "TokenCounter",
    "Window",
    "bound_nusd",
    "cost_nusd",
    "encoding_for",
    "shortage",
    "upper_bound_tokens",
]
