"""What calls are counted as and what they cost, and the books that it is recorded in."""

from proxy.accounting.book import PriceBook
from proxy.accounting.cost import Tariff, bound_nusd, cost_nusd
from proxy.accounting.families import Encoding, encoding_for
from proxy.accounting.journal import Journal
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar, Per, UnknownTimeZone, find_zone, month_of
from proxy.accounting.prices import Prices, PriceTable, Rates
from proxy.accounting.ratios import upper_bound_tokens
from proxy.accounting.reserve import Hold, Lengths, Limits, Meter, MeterName, Shortage, shortage
from proxy.accounting.tokens import TokenCount, TokenCounter
from proxy.accounting.window import Window

__all__ = [
    "Calendar",
    "Encoding",
    "Hold",
    "Journal",
    "Ledger",
    "Lengths",
    "Limits",
    "Meter",
    "MeterName",
    "Per",
    "PriceBook",
    "PriceTable",
    "Prices",
    "Rates",
    "Shortage",
    "Tariff",
    "TokenCount",
    "TokenCounter",
    "UnknownTimeZone",
    "Window",
    "bound_nusd",
    "cost_nusd",
    "encoding_for",
    "find_zone",
    "month_of",
    "shortage",
    "upper_bound_tokens",
]
