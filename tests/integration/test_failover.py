"""The README's demonstration: the preferred provider dies under load, and no client sees it."""

import asyncio
from collections import Counter
from pathlib import Path

from openai import AsyncOpenAI

from tests.server import serving

KEY = "sk-way-failover-0123456789"
CONFIG = f"""\
version: 1
server: {{listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
providers:
  cheap: {{kind: demo, profile: fast, faults: {{first_token: 5ms, per_token: 0ms}}}}
  dear: {{kind: demo, profile: fast, faults: {{first_token: 5ms, per_token: 0ms}}}}
models:
  chat:
    strategy: balanced
    targets:
      - {{provider: cheap, model: m, price_usd_per_mtok: {{input: 0.1, output: 0.2}}}}
      - {{provider: dear, model: m, price_usd_per_mtok: {{input: 1, output: 2}}}}
teams: {{t: {{keys: [{{name: k, key: "{KEY}"}}]}}}}
"""


async def test_no_client_sees_the_preferred_provider_die(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)
        answered: Counter[str] = Counter()

        async def ask() -> None:
            async with client.chat.completions.with_streaming_response.create(
                model="chat", messages=[{"role": "user", "content": "Hello"}], stream=True
            ) as response:
                text = "".join([line async for line in response.iter_lines()])
                assert text.endswith("data: [DONE]")
                answered[response.headers["x-waystation-provider"]] += 1

        async def load(rounds: int) -> None:
            for _ in range(rounds):
                await asyncio.gather(*(ask() for _ in range(5)))

        await load(10)
        assert answered["cheap"] > answered["dear"]
        server.reload(CONFIG.replace("faults: {", "faults: {error_rate: 100%, ", 1))
        answered.clear()
        await load(20)
        assert answered == {"dear": 100}
        failed = [event for event in server.log.events() if "trying dear/m" in str(event.get("message"))]
        assert 1 <= len(failed) <= 15  # then its breaker is open
        await client.close()
