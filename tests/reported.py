"""Reports over small books, and the config that they are made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from proxy.accounting.report_query import Query
from proxy.accounting.reports import Report, Reporter
from proxy.config import Config
from proxy.config.load import load_text
from proxy.state import Booking, Payer, Settlement
from tests.books import MORNING_MS, MORNING_S, NOVEMBER, attempt, booked, booked_at, settlement, unix_s

DAY_MS = 86_400_000
SALES = Payer("sales", "web", "99", {"env": "test"})
UNTAGGED = Payer("sales", "batch")
CONFIG = """
version: 1
state: {url: "sqlite:///books.db"}
accounting: {tag_keys: [env, feature]}
providers:
  openai: {kind: openai, api_key: sk-openai-0123456789}
  qwen: {kind: openai, base_url: "https://qwen.example/v1", api_key: "${QWEN_KEY}"}
models:
  chat:
    targets:
      - {provider: openai, model: gpt-4o}
      - {provider: qwen, model: plus, price_usd_per_mtok: {input: 1, output: 1}}
  mini: {targets: [{provider: openai, model: gpt-4o-mini}]}
teams:
  search: {cost_center: "4711", keys: [{name: ci, key: "sk-way-search-0123456789"}]}
  sales: {keys: [{name: web, key: "sk-way-sales-0123456789"}]}
"""

#: As OpenAI's console writes it.
COSTS_HEADER = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item,"
    "user_id,api_key_id,project_id,organization_id,project_name,organization_name,user_email,api_source"
)
DAY_S = 86_400
FIRST_S = 1_795_219_200  # 2026-11-21


def config(text: str = CONFIG) -> Config:
    return load_text(text, {"QWEN_KEY": "sk-qwen-0123456789"}, "gateway.yaml").config


def calls() -> list[Settlement | Booking]:
    """Six calls of two teams in November, and one of October that was booked in November."""
    retried = settlement(
        "a",
        attempt("openai", 100, metering="unmetered", low_nusd=0, high_nusd=300, is_answer=False),
        attempt("qwen", 400, role="retry"),
    )
    cached = replace(settlement("b", payer=SALES), attempts=(), source="cache:exact", saved_nusd=50)
    refused = replace(
        settlement("c", payer=UNTAGGED, began_ms=MORNING_MS + DAY_MS, error="rate_limit_exceeded:team_rpm"), attempts=()
    )
    failed = settlement(
        "d",
        attempt("openai", 7, metering="estimated", low_nusd=5, high_nusd=9),
        payer=SALES,
        error="upstream_error",
        model="mini",
    )
    plain = settlement("e", attempt("openai", 1000), payer=UNTAGGED, began_ms=MORNING_MS + 2 * DAY_MS)
    hedged = settlement("f", attempt("openai", 20), attempt("qwen", 30, role="hedge", is_answer=False))
    late = settlement("g", attempt("openai", 3000), began_ms=int(unix_s("2026-10-31T23:30") * 1000))
    return [retried, cached, refused, failed, plain, hedged, booked_at(late, "2026-11-05T12:00")]


def reporter(folder: Path, *entries: Settlement | Booking, text: str = CONFIG) -> Reporter:
    return Reporter(booked(folder / "books.db", *(entries or calls())), config(text))


def report(folder: Path, query: Query | None = None, check_calls: int = 1000) -> Report:
    """Of `calls()`, made on the morning of the 21st."""
    return reporter(folder).build(query or Query(NOVEMBER), MORNING_S, check_calls)


def costs_row(amount: str, key: str = "", day: int = 0, currency: str = "usd", end_s: int | None = None) -> str:
    """A row of an export of OpenAI's costs."""
    start_s = FIRST_S + day * DAY_S
    end_s = start_s + DAY_S if end_s is None else end_s
    return f'{start_s},{end_s},x,y,{amount},{currency},,,"gpt-4o-mini, input",,{key},proj_1,org,P,"O, Inc",a@b.example,'
