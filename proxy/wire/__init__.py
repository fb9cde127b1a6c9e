"""OpenAI's formats: requests, answers, streams, usage, errors. Pure: bytes in, values out; no I/O, no clock."""

from proxy.wire.answer import ChatAnswer, read_chat_answer
from proxy.wire.chat import ChatRequest, parse_chat_request
from proxy.wire.chunks import ChatChunks, error_event
from proxy.wire.failure import ErrorAnswer, ErrorBody, MalformedAnswer, read_error
from proxy.wire.stream import EventTooLarge, SSESplitter
from proxy.wire.usage import Usage, read_usage

__all__ = [
    "ChatAnswer",
    "ChatChunks",
    "ChatRequest",
    "ErrorAnswer",
    "ErrorBody",
    "EventTooLarge",
    "MalformedAnswer",
    "SSESplitter",
    "Usage",
    "error_event",
    "parse_chat_request",
    "read_chat_answer",
    "read_error",
    "read_usage",
]
