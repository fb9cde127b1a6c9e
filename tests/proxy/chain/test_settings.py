from proxy.chain import admission_of, limits_of, model_of, start_only, tier_rules_of
from proxy.config import ModelConfig, TargetConfig
from proxy.config.load import load_text
from tests.gateways import KEY

CONFIG = f"""
version: 1
server: {{admission: {{concurrency: 7, queue: 8, max_wait: 3s}}}}
providers: {{a: {{kind: openai, api_key: k-0123456789abcdef}}}}
models:
  chat:
    aliases: [default]
    strategy: balanced
    slo: {{ttft: 3s}}
    timeouts: {{total: 20s}}
    targets: [{{provider: a, model: gpt-4o, context: 8k}}, {{provider: a, model: gpt-4o-mini, context: 4k}}]
    fallbacks: [{{on: unavailable, model: turns}}, {{on: unavailable, static: Later., status: 503}}]
    tier: {{by: complexity, simple: turns, hard: chat, shadow: true}}
  turns: {{strategy: round_robin, targets: [{{provider: a, model: gpt-4o}}]}}
teams:
  free: {{keys: [{{name: x, key: {KEY}-1}}]}}
  search:
    limits: {{rpm: 5}}
    keys: [{{name: ci, key: {KEY}, limits: {{concurrency: 2}}}}, {{name: web, key: {KEY}-2}}]
"""


def test_a_model_is_described_by_its_settings() -> None:
    config = load_text(CONFIG, {}, "f").config
    chat, turns = (model_of(name, config.models[name]) for name in ("chat", "turns"))
    assert (chat.aliases, chat.ttft_s, chat.patience.total_s) == (("default",), 3.0, 20.0)
    assert (chat.is_chosen, turns.is_chosen) == (True, False)
    assert (chat.least_context, chat.counted_as, turns.least_context) == (4000, "gpt-4o", None)
    model, static = chat.fallbacks
    assert (model.model, model.static) == ("turns", None)
    assert static.static is not None
    assert (static.static.text, static.static.status) == ("Later.", 503)


def test_only_what_is_stated_is_limited() -> None:
    limits = limits_of(load_text(CONFIG, {}, "f").config)
    assert set(limits) == {("search",), ("search", "ci")}
    assert (limits["search",].rpm, limits["search", "ci"].concurrency) == (5, 2)


def test_only_models_with_tiers_have_a_rule() -> None:
    rules = tier_rules_of(load_text(CONFIG, {}, "f").config.models)
    assert set(rules) == {"chat"}
    assert (rules["chat"].simple, rules["chat"].hard, rules["chat"].is_shadow) == ("turns", "chat", True)


def test_admission_is_as_the_server_says() -> None:
    found = admission_of(load_text(CONFIG, {}, "f").config)
    assert (found.concurrency, found.queue, found.max_wait_s) == (7, 8, 3.0)


def test_what_is_read_at_the_start_alone_is_named_when_it_changes() -> None:
    old = load_text(CONFIG, {}, "f").config
    new = load_text(CONFIG + "accounting: {timezone: Europe/Berlin}\nstate: {journal: other}\n", {}, "f").config
    assert start_only(old, old) == []
    assert start_only(old, new) == ["state.journal", "accounting.timezone"]
    server = "server: {listen: '127.0.0.1:1', drain: 9s, drain_delay: 1s, max_body: 1MB, admission: {queue: 9}}"
    moved = CONFIG.replace("server: {admission: {concurrency: 7, queue: 8, max_wait: 3s}}", server)
    assert start_only(old, load_text(moved, {}, "f").config) == ["server.listen"]


def test_models_for_embeddings_are_known_and_say_how_calls_go_together() -> None:
    turns = "turns: {strategy: round_robin, targets: [{provider: a, model: gpt-4o}]}"
    assert turns in CONFIG
    embed = "turns: {embeddings: {batch_window: 5ms, batch_size: 8}, targets: [{provider: a, model: embed-1}]}"
    chat, made = (
        model_of("turns", load_text(text, {}, "f").config.models["turns"])
        for text in (CONFIG, CONFIG.replace(turns, embed))
    )
    assert (chat.has_no_chat, chat.is_chosen, chat.batch_window_s, chat.batch_size) == (False, False, 0.01, 64)
    assert (made.has_no_chat, made.is_chosen, made.batch_window_s, made.batch_size) == (True, True, 0.005, 8)


def test_a_provider_without_embeddings_costs_chat_nothing() -> None:
    target = TargetConfig(provider="a", model="m", lacks=("embeddings",))
    assert not model_of("m", ModelConfig(targets=(target,))).is_chosen
