from datetime import UTC, datetime
from time import time

import pytest

from proxy.accounting import PriceBook, PriceTable
from proxy.chain import Scale, scales_of
from proxy.chain.scale import MAX_OUTPUT, USUAL_OUTPUT
from proxy.config.load import load_text
from tests.calls import a_call
from tests.gateways import KEY

CONFIG = f"""
version: 1
providers:
  a: {{kind: openai, api_key: k-0123456789abcdef}}
  deepseek: {{kind: openai, base_url: "https://api.deepseek.com/v1", api_key: k-0123456789abcdef}}
models:
  cheap: {{targets: [{{provider: a, model: c, max_output: 1000, price_usd_per_mtok: {{input: 1, output: 2}}}}],
          fallbacks: [{{on: unavailable, model: dear}}]}}
  dear: {{targets: [{{provider: a, model: d, price_usd_per_mtok: {{input: 10, output: 20}}}}]}}
  small: {{targets: [{{provider: a, model: s, max_output: 1000, price_usd_per_mtok: {{input: 1, output: 2}}}}]}}
  nightly: {{targets: [{{provider: deepseek, model: deepseek-v4-pro}}]}}
teams: {{t: {{keys: [{{name: k, key: {KEY}}}]}}}}
"""


def scales() -> dict[str, Scale]:
    config = load_text(CONFIG, {}, "f").config
    return scales_of(config, PriceBook(config, PriceTable(), time()))


def test_a_call_may_come_to_the_dearest_target_that_it_can_fall_back_to() -> None:
    found = scales()
    assert found["cheap"].ceiling.nusd(1000, 100, time()) == 1000 * 10_000 + 100 * 20_000
    assert found["small"].ceiling.nusd(1000, 100, time()) == 1000 * 1000 + 100 * 2000
    assert (found["cheap"].usual_output_tokens, found["cheap"].max_output_tokens) == (USUAL_OUTPUT, MAX_OUTPUT)
    assert (found["small"].usual_output_tokens, found["small"].max_output_tokens) == (1000, 1000)


@pytest.mark.parametrize(
    ("body", "n", "expected"),
    [
        ({}, 1, USUAL_OUTPUT),
        ({"max_tokens": 50}, 1, 50),
        ({"max_completion_tokens": 70, "max_tokens": 50}, 1, 70),
        ({"max_completion_tokens": 1, "max_tokens": 9000}, 1, 9000),  # providers that know the old name only
        ({"max_tokens": -5}, 1, USUAL_OUTPUT),
        ({"max_tokens": 10**12}, 1, MAX_OUTPUT),
        ({"max_tokens": 50}, 100, 5000),
        ({"max_tokens": True}, 1, USUAL_OUTPUT),
    ],
)
def test_whatever_a_client_bounds_its_answer_by_the_reservation_is_bounded(
    body: dict[str, object], n: int, expected: int
) -> None:
    call = a_call()
    call.request.body.update(body)
    call.request.n, call.request.size_bytes = n, 300
    assert scales()["dear"].tokens(call) == (300, expected)


def test_a_price_that_goes_up_while_a_call_waits_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    night_s = datetime(2026, 11, 20, 0, 59, 59, tzinfo=UTC).timestamp()  # from one o'clock 0.66 dollars are 1.32
    monkeypatch.setattr("proxy.chain.scale.time", lambda: night_s)
    assert scales()["nightly"].ceiling.nusd(1000, 0, night_s) == 1000 * 1320
