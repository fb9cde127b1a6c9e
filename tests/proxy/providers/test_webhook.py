import asyncio

import httpx
import orjson
import pytest

from proxy.providers import Webhook


class Wire(httpx.AsyncBaseTransport):
    """Answers with these; an exception among them is raised."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.sent: list[dict[str, object]] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append({"url": str(request.url), **orjson.loads(await request.aread())})
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step, stream=httpx.ByteStream(b""))

    async def aclose(self) -> None:
        self.closed = True


class Rig:
    def __init__(self, *script: int | Exception) -> None:
        self.wire, self.slept = Wire(*script), [0.0]
        self.webhook = Webhook(self.wire, self._sleep)
        self.webhook.aim("https://ops.example/hook")

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def done(self) -> None:
        assert self.webhook._task is not None
        await asyncio.wait_for(self.webhook._task, 5)


async def test_events_are_sent_in_their_order() -> None:
    rig = Rig(200)
    rig.webhook.tell({"type": "a"})
    rig.webhook.tell({"type": "b"})
    await rig.done()
    assert rig.wire.sent == [
        {"url": "https://ops.example/hook", "type": "a"},
        {"url": "https://ops.example/hook", "type": "b"},
    ]
    rig.webhook.tell({"type": "c"})
    await rig.done()
    assert rig.wire.sent[-1]["type"] == "c"


async def test_an_event_that_is_not_taken_is_sent_again_and_given_up_in_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(503, httpx.ConnectError("no connection"), 200, 500)
    rig.webhook.tell({"type": "a"})
    await rig.done()
    assert (len(rig.wire.sent), rig.slept[1:]) == (3, [1.0, 10.0])
    assert caplog.text == ""
    rig.webhook.tell({"type": "b", "quota": "x"})
    await rig.done()
    assert (len(rig.wire.sent), rig.slept[3:]) == (7, [1.0, 10.0, 60.0])
    assert "an event of type b could not be told: it answered 500" in caplog.text
    assert "ops.example" not in caplog.text  # the address may hold a token


async def test_without_an_address_nobody_is_told() -> None:
    rig = Rig(200)
    rig.webhook.aim(None)
    rig.webhook.tell({"type": "a"})
    assert rig.webhook._task is None


async def test_at_most_so_many_wait_and_closing_gives_them_up() -> None:
    rig = Rig(200)
    for number in range(500):
        rig.webhook.tell({"type": str(number)})
    await rig.done()
    assert len(rig.wire.sent) == 200
    assert rig.wire.sent[-1]["type"] == "499"
    rig.webhook.tell({"type": "late"})
    await rig.webhook.aclose()
    assert rig.wire.closed
    assert len(rig.wire.sent) == 200
