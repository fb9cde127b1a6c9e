"""Many commands to Redis in one trip, from a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from proxy.state.redis_client import asked
from proxy.state.redis_link import Word
from proxy.state.scripts import Script

Command = tuple[Word, ...]


def ask_all(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """What each of these gives, sent together: all of them are done, whatever becomes of one. Raises StateAway or
    StateFailed for the first that failed.
    """
    answers = _sent(client, commands)
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            _fail(answer)
    return answers


def run_all(client: redis.Redis, script: Script, runs: Sequence[tuple[str, Sequence[Word]]]) -> list[Any]:
    """What a script gives for each of these (its key, its arguments), sent together; if Redis has forgotten it, it is
    sent again. Raises as `ask_all` does.
    """
    commands: list[Command] = [("EVALSHA", script.digest, 1, key, *args) for key, args in runs]
    answers = _sent(client, commands)
    again = [at for at, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)]
    if again:
        whole = _sent(client, [("EVAL", script.source, *commands[at][2:]) for at in again])
        for at, answer in zip(again, whole, strict=True):
            answers[at] = answer
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            _fail(answer)
    return answers


def _sent(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    if not commands:
        return []

    def send() -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=False)

    return asked(send)


def _fail(error: redis.RedisError) -> None:
    def fail() -> None:
        raise error

    asked(fail)
