"""What calls are counted as, and what they cost."""

from proxy.accounting.book import PriceBook
from proxy.accounting.cost import Tariff, bound_nusd, cost_nusd
from proxy.accounting.families import Encoding, encoding_for
from proxy.accounting.prices import Prices, PriceTable, Rates
from proxy.accounting.ratios import upper_bound_tokens
from proxy.accounting.tokens import TokenCount, TokenCounter

__all__ = [
    "Encoding",
    "PriceBook",
    "PriceTable",
    "Prices",
    "Rates",
    "Tariff",
    "TokenCount",
    "TokenCounter",
    "bound_nusd",
    "cost_nusd",
    "encoding_for",
    "upper_bound_tokens",
]
