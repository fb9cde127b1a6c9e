"""Which path is answered by what. Matched exactly on the raw path of the request line, never on a URL rebuilt from
its Host; what is not listed is 404 in OpenAI's shape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from operator import attrgetter
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from proxy.api.admin import AdminEndpoint, Reloader
from proxy.api.cache import CacheEndpoint
from proxy.api.changes import AuditEndpoint
from proxy.api.chat import ChatEndpoint
from proxy.api.grants import GrantsEndpoint
from proxy.api.guard import check
from proxy.api.health import HealthEndpoint
from proxy.api.keys import KeysEndpoint
from proxy.api.models import ModelsEndpoint
from proxy.api.quota import QuotaEndpoint
from proxy.api.replay import ReplayEndpoint
from proxy.api.replicas import ReplicasEndpoint
from proxy.api.requests import RequestsEndpoint
from proxy.api.respond import WATCH, Receive, Send, write_error
from proxy.api.surface import Desk
from proxy.api.targets import TargetsEndpoint
from proxy.api.tokens import TokensEndpoint
from proxy.api.usage import UsageEndpoint
from proxy.chain import choose_request_id, new_id
from proxy.errors import GatewayError, MethodNotAllowed, NotFound
from proxy.wire.embeddings import parse_embeddings_request

Scope = MutableMapping[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]

_NOTHING: Final[Mapping[str, Any]] = {}
CHAT: Final = "/v1/chat/completions"
EMBEDDINGS: Final = "/v1/embeddings"
#: What follows is a name: a model's, a call's id.
_MODELS: Final = "/v1/models/"
_REPLAY: Final = "/admin/v1/replay/"
_REQUESTS: Final = "/v1/requests/"
_NAMED: Final = (_MODELS, _REPLAY, _REQUESTS)


class Face:
    """An ASGI application: the guard, then the route."""

    def __init__(
        self, desk: Desk, routes: Mapping[str, Mapping[str, Endpoint]], asking: Mapping[str, ChatEndpoint]
    ) -> None:
        """`routes`: path -> method -> endpoint; `/v1/models/*` stands for all below it. `asking`: by path, what asks
        providers, by POST alone; it has a way of its own, short of everything it can do without.
        """
        self._desk = desk
        self._routes = routes
        self._asking = asking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Other scopes (websocket, lifespan) are never sent here: the listener has them off."""
        headers: dict[bytes, bytes] = {}
        try:
            headers = check(scope)
            # As it stood in the request line: `scope["path"]` is percent-decoded, and `%63hat` is no route of ours.
            path, method = scope["raw_path"].decode("ascii"), scope["method"]
            asked = self._asking.get(path)
            if asked is not None:
                if method != "POST":
                    raise _wrong_method(method, path, ["POST"])
                await asked(headers, receive, send, scope.get("extensions", _NOTHING).get(WATCH))
                return
            await self._serve(path, method, scope, headers, receive, send)
        except GatewayError as error:
            await self._refuse(error, headers, send)

    async def _serve(
        self, path: str, method: str, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        # A name may hold slashes; it is looked up, and never used as a path.
        folder = next((folder for folder in _NAMED if path.startswith(folder)), "")
        name = unquote(path[len(folder) :]) if folder else ""
        methods = self._routes.get(f"{folder}*" if name else path)
        if methods is None:
            raise NotFound(f"There is nothing at {method} {path[:200]}. The chat endpoint is POST {CHAT}.")
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise _wrong_method(method, path, sorted(methods))
        request = Request({**scope, "path_params": {"name": name}, "state": {"headers": headers}}, receive)
        response = await endpoint(request)
        response.headers["x-request-id"] = choose_request_id(headers, new_id())
        await response({**scope}, receive, send)

    async def _refuse(self, error: GatewayError, headers: dict[bytes, bytes], send: Send) -> None:
        request_id = choose_request_id(headers, new_id())
        self._desk.surface.trace.refuse(request_id, error)
        extra = [(b"x-request-id", request_id.encode("ascii"))]
        if not headers:
            extra.append(
                (b"connection", b"close")
            )  # the guard refused it: what follows on this connection isn't trusted
        if isinstance(error, MethodNotAllowed):
            extra.append((b"allow", ", ".join(error.allowed).encode("ascii")))
        await write_error(send, error, extra)


def client_face(desk: Desk) -> Face:
    """What clients see, on `server.listen`."""
    models, health = ModelsEndpoint(desk), HealthEndpoint(desk)
    routes: dict[str, dict[str, Endpoint]] = {
        "/v1/models": {"GET": models.list},
        f"{_MODELS}*": {"GET": models.show},
        "/v1/quota": {"GET": QuotaEndpoint(desk).of_caller},
        "/v1/cache/feedback": {"POST": CacheEndpoint(desk).complain},
        "/api/count-tokens": {"POST": TokensEndpoint(desk).count},
        "/v1/usage": {"GET": UsageEndpoint(desk).own},
        f"{_REQUESTS}*": {"GET": RequestsEndpoint(desk).show},
        **_probes(health),
    }
    embeddings = ChatEndpoint(desk, parse_embeddings_request, attrgetter("embeddings"))
    return Face(desk, routes, {CHAT: ChatEndpoint(desk), EMBEDDINGS: embeddings})


def admin_face(desk: Desk, reloader: Reloader) -> Face:
    """What operators and Prometheus see, on `server.admin_listen`."""
    admin, targets = AdminEndpoint(desk, reloader), TargetsEndpoint(desk)
    keys, grants, cache = KeysEndpoint(desk), GrantsEndpoint(desk), CacheEndpoint(desk)
    routes: dict[str, dict[str, Endpoint]] = {
        "/metrics": {"GET": admin.metrics},
        "/admin/v1/config": {"GET": admin.show_config},
        "/admin/v1/config/check": {"POST": admin.check_config},
        "/admin/v1/config/reload": {"POST": admin.reload_config},
        "/admin/v1/targets": {"GET": targets.list},
        "/admin/v1/targets/drain": {"POST": targets.drain},
        "/admin/v1/targets/undrain": {"POST": targets.undrain},
        "/admin/v1/quota": {"GET": QuotaEndpoint(desk).of_all},
        "/admin/v1/explain": {"POST": targets.explain},
        "/admin/v1/keys": {"GET": keys.list},
        "/admin/v1/keys/block": {"POST": keys.block},
        "/admin/v1/keys/unblock": {"POST": keys.unblock},
        "/admin/v1/grants": {"GET": grants.list, "POST": grants.add},
        "/admin/v1/grants/withdraw": {"POST": grants.withdraw},
        "/admin/v1/cache": {"GET": cache.show},
        "/admin/v1/cache/purge": {"POST": cache.purge},
        "/admin/v1/replicas": {"GET": ReplicasEndpoint(desk).list},
        "/admin/v1/audit": {"GET": AuditEndpoint(desk).list},
        f"{_REPLAY}*": {"GET": ReplayEndpoint(desk).show},
        "/admin/v1/usage": {"GET": UsageEndpoint(desk).all},
        **_probes(HealthEndpoint(desk)),
    }
    return Face(desk, routes, {})


def _probes(health: HealthEndpoint) -> dict[str, dict[str, Endpoint]]:
    return {"/livez": {"GET": health.live}, "/readyz": {"GET": health.ready}, "/healthz": {"GET": health.health}}


def _wrong_method(method: str, path: str, allowed: list[str]) -> MethodNotAllowed:
    return MethodNotAllowed(f"{path} does not take {method}, only {' or '.join(allowed)}.", allowed)
