import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamQuotaExhausted,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.providers.failures import Scrubber, classify, classify_inside, no_embeddings, read_retry_after
from proxy.wire.failure import ErrorBody

#: Sun, 06 Nov 1994 08:49:37 GMT
NOW = 784_111_777.0
SCRUB = Scrubber(["sk-our-credential-123"], "http://llm.internal:8000/v1")


def body(message: str = "m", type: str | None = None, code: str | None = None, param: str | None = None) -> ErrorBody:
    return ErrorBody(message=message, type=type, code=code, param=param, status=None)


@pytest.mark.parametrize(
    ("status", "error", "kind", "shown"),
    [
        (400, body(), UpstreamRejected, 400),
        (413, body(), UpstreamRejected, 413),
        (422, body(), UpstreamRejected, 422),
        (429, body(), UpstreamRejected, 429),
        (401, body(), UpstreamAuthError, 502),
        (403, body(), UpstreamAuthError, 502),
        (404, body(), UpstreamMisconfigured, 502),
        (400, body("The model `gpt-9` does not exist"), UpstreamMisconfigured, 502),
        (400, body("Model Not Exist"), UpstreamMisconfigured, 502),
        (400, body("This model requires every tool_call_id to have a response; 'c1' not found"), UpstreamRejected, 400),
        (400, body("Invalid parameter for this model: unknown field 'foo'"), UpstreamRejected, 400),
        (400, body("model 'x' not found", param="messages"), UpstreamRejected, 400),
        (429, body(code="insufficient_quota"), UpstreamQuotaExhausted, 503),
        (402, body("Insufficient Balance"), UpstreamQuotaExhausted, 503),
        (500, body(), UpstreamError, 502),
        (502, body(), UpstreamError, 502),
        (503, body(), UpstreamUnavailable, 503),
        (529, body(), UpstreamUnavailable, 503),
        (504, body(), UpstreamTimeout, 504),
        (408, body(), UpstreamTimeout, 504),
        (409, body(), UpstreamError, 502),
        (302, body(), UpstreamMisconfigured, 502),
        (418, body(), UpstreamError, 502),
    ],
)
def test_a_status_says_whose_fault_it_is(
    status: int, error: ErrorBody, kind: type[UpstreamFailure], shown: int
) -> None:
    failure = classify("p", status, error, {}, SCRUB, NOW)
    assert type(failure) is kind
    assert failure.status == shown


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (400, body(code="context_length_exceeded"), "context_length"),
        (400, body("This model's maximum context length is 8192 tokens"), "context_length"),
        (413, body(), "context_length"),
        (400, body(code="content_filter"), "content_filter"),
        (403, body(code="content_policy_violation"), "content_filter"),
        (429, body(), "rate_limited"),
        (400, body("temperature must be below 2"), None),
        (500, body(), "unavailable"),
    ],
)
def test_a_cause_says_who_else_may_be_asked(status: int, error: ErrorBody, cause: str | None) -> None:
    assert classify("p", status, error, {}, SCRUB, NOW).cause == cause


def test_a_rejection_keeps_the_providers_own_code_type_and_param() -> None:
    failure = classify(
        "p", 400, body("bad", "invalid_request_error", "unsupported_value", "temperature"), {}, SCRUB, NOW
    )
    assert (failure.message, failure.type, failure.code, failure.param) == (
        "bad",
        "invalid_request_error",
        "unsupported_value",
        "temperature",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (body(type="overloaded_error"), UpstreamUnavailable),
        (body(code="rate_limit_exceeded"), UpstreamRejected),
        (body(type="invalid_request_error"), UpstreamRejected),
        (body(type="authentication_error"), UpstreamAuthError),
        (body(), UpstreamError),
    ],
)
def test_an_error_inside_a_200_is_taken_for_what_it_says(error: ErrorBody, kind: type[UpstreamFailure]) -> None:
    assert type(classify_inside("p", error, SCRUB)) is kind


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("key sk-our-credential-123 is bad", "key [key] is bad"),
        ("Incorrect API key provided: sk-abcd***wxyz. See https://platform.openai.com/account", "[key]"),
        ("sent Bearer abc.def to us", "sent [key] to us"),
        ("call http://llm.internal:8000/v1/chat failed", "call [url] failed"),
        ("call http://10.0.0.7/x failed", "call [url] failed"),
        ("host llm.internal is down", "host [host] is down"),
        ("host LLM.internal:8000 is down", "host [host] is down"),
        ("db at 10.0.3.7:5432 refused", "db at [host] refused"),
        ("node gpu7.prod.internal:8000", "node [host]"),
        ("bell\x07 and \x1b[31m", "bell  and  [31m"),
    ],
)
def test_a_providers_words_are_scrubbed(said: str, shown: str) -> None:
    text = SCRUB(said)
    assert shown in text
    assert "sk-" not in text
    if "platform.openai.com" in said:
        assert "https://platform.openai.com/account" in text


@given(before=st.text(), after=st.text())
def test_our_credential_never_comes_through(before: str, after: str) -> None:
    assert "our-credential" not in SCRUB(f"{before} sk-our-credential-123 {after}")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "99999999"}, 3600.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:40 GMT"}, 3.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:00 GMT"}, None),  # it has passed
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_a_wait_is_read_from_headers_and_capped(headers: dict[str, str], wait_s: float | None) -> None:
    assert read_retry_after(headers, NOW) == wait_s
    assert classify("p", 429, body(), headers, SCRUB, NOW).retry_after_s == wait_s


@pytest.mark.parametrize(
    ("status", "wait_s"), [(400, None), (401, None), (404, None), (408, 2), (409, 2), (429, 2), (500, 2), (503, 2)]
)
def test_a_wait_is_heeded_where_waiting_may_help(status: int, wait_s: float | None) -> None:
    assert classify("p", status, body(), {"retry-after": "2"}, SCRUB, NOW).retry_after_s == wait_s


@pytest.mark.parametrize("status", [403, 404])
def test_a_chat_model_that_is_asked_for_embeddings_is_named_as_that(status: int) -> None:
    failure = no_embeddings("p", status)
    assert (failure.status, failure.code, failure.is_unsuited) == (502, "upstream_misconfigured", True)
    assert f"HTTP {status}" in failure.message
