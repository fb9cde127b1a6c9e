"""What calls are counted as, and what they cost."""

from proxy.accounting.book import PriceBook
from proxy.accounting.cost import Tariff, bound_nusd, cost_nusd
from proxy.accounting.prices import Prices, PriceTable, Rates

__all__ = ["PriceBook", "PriceTable", "Prices", "Rates", "Tariff", "bound_nusd", "cost_nusd"]
