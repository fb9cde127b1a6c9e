"""deploy/nginx: streams pass as they come, and no call is made twice."""

from __future__ import annotations

import json

import pytest

from proxy.cli import listener
from tests.deploy import nginx_conf, read
from tests.house import tree

ROOT = nginx_conf.parse(tree.text("deploy/nginx/nginx.conf"))
(HTTP,) = ROOT.all("http")
(UPSTREAM,) = HTTP.all("upstream")
(SERVER,) = HTTP.all("server")
(MAIN,) = [location for location in SERVER.all("location") if location.arguments == ["/"]]
CONFIG = read.config(read.COMPOSE_CONFIG)


def test_the_upstreams_are_the_gateways_at_their_client_port() -> None:
    port = CONFIG.server.listen.port
    gateways = [name for name in read.data(read.COMPOSE)["services"] if name.startswith("gateway-")]
    assert [server.arguments[0] for server in UPSTREAM.all("server")] == [f"{name}:{port}" for name in gateways]
    assert all("resolve" in server.arguments for server in UPSTREAM.all("server"))
    assert HTTP.only("resolver")[0] == "127.0.0.11"  # Docker's own
    assert UPSTREAM.all("zone")  # `resolve` needs it
    assert MAIN.only("proxy_pass") == [f"http://{UPSTREAM.arguments[0]}"]


def test_answers_are_not_held_back() -> None:
    assert MAIN.only("proxy_buffering") == ["off"]
    assert MAIN.only("proxy_cache") == ["off"]
    assert MAIN.only("gzip") == ["off"]


def test_connections_to_the_gateways_are_kept_and_closed_by_nginx_first() -> None:
    assert MAIN.only("proxy_http_version") == ["1.1"]
    assert ["Connection", ""] in [header.arguments for header in MAIN.all("proxy_set_header")]
    names = [directive.name for directive in UPSTREAM.inner]
    assert names.index("least_conn") < names.index("keepalive")  # the other way round, keepalive is not in force
    assert read.seconds(UPSTREAM.only("keepalive_timeout")[0]) < listener._KEEP_ALIVE_S


def test_no_call_is_made_twice() -> None:
    assert set(MAIN.only("proxy_next_upstream")) == {"error", "timeout"}
    assert not [found for found in ROOT.deep("proxy_next_upstream") if "non_idempotent" in found.arguments]


def test_the_gateway_is_waited_for_longer_than_it_waits_itself() -> None:
    longest_s = max(model.timeouts.total_s for model in CONFIG.models.values())
    assert read.seconds(MAIN.only("proxy_read_timeout")[0]) > longest_s + CONFIG.server.admission.max_wait_s
    assert read.seconds(MAIN.only("proxy_send_timeout")[0]) > CONFIG.server.body_timeout_s
    assert read.seconds(SERVER.only("send_timeout")[0]) > CONFIG.server.client_write_timeout_s


def test_what_the_gateway_takes_nginx_lets_through() -> None:
    assert read.size(SERVER.only("client_max_body_size")[0]) > CONFIG.server.max_body_bytes
    (tmpfs,) = read.data(read.COMPOSE)["services"]["nginx"]["tmpfs"]
    room = read.size(tmpfs.partition("size=")[2].partition(",")[0])
    assert room >= 10 * read.size(SERVER.only("client_max_body_size")[0])


def test_request_ids_pass_and_are_logged() -> None:
    hidden = [found.arguments[0].lower() for found in ROOT.deep("proxy_hide_header")]
    replaced = [header.arguments[0].lower() for header in MAIN.all("proxy_set_header")]
    assert "x-request-id" not in hidden + replaced
    assert "$upstream_http_x_request_id" in "".join(HTTP.only("log_format"))


def test_no_key_and_no_prompt_is_logged() -> None:
    logged = "".join(HTTP.only("log_format"))
    assert not [name for name in ("$request ", '$request"', "$args", "$http_", "$request_body") if name in logged]


def test_nginx_listens_where_compose_publishes_it() -> None:
    nginx = read.data(read.COMPOSE)["services"]["nginx"]
    assert [port.rpartition(":")[2] for port in nginx["ports"]] == SERVER.only("listen")
    assert f"127.0.0.1:{SERVER.only('listen')[0]}/livez" in nginx["healthcheck"]["test"][-1]
    assert nginx["volumes"] == ["../nginx/nginx.conf:/etc/nginx/nginx.conf:ro"]


def test_nginx_writes_to_its_tmpfs_alone() -> None:
    (tmpfs,) = read.data(read.COMPOSE)["services"]["nginx"]["tmpfs"]
    assert tmpfs.startswith("/tmp:")
    places = [ROOT.only("pid"), *(HTTP.only(f"{kind}_temp_path") for kind in ("client_body", "proxy", "fastcgi"))]
    assert all(place[0].startswith("/tmp/") for place in places)
    logs = [ROOT.only("error_log")[0], HTTP.only("access_log")[0]]
    assert logs == ["/dev/stderr", "/dev/stdout"]


def test_what_nginx_says_itself_is_in_openais_shape() -> None:
    for name in ("@away", "@too_large"):
        (location,) = [one for one in SERVER.all("location") if one.arguments == [name]]
        status, body = location.only("return")
        error = json.loads(body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert status in {"503", "413"}
    assert {found.arguments[-1] for found in MAIN.all("error_page")} == {"@away", "@too_large"}


def test_blocks_quotes_and_comments_are_read() -> None:
    root = nginx_conf.parse("a b; # c;\n# d {\ne 'f; g' \"h\" '' {\n  i; j k{l;}\n}\n# end")
    assert [directive.name for directive in root.inner] == ["a", "e"]
    assert root.inner[1].arguments == ["f; g", "h", ""]
    assert [found.name for found in root.inner[1].inner] == ["i", "j"]
    assert [found.name for found in root.deep("l")] == ["l"]


@pytest.mark.parametrize("text", ["a", "a {", "a; }", "a b }", "{ a; }", "; a;", "a 'b;"])
def test_what_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unexpected|missing|cannot be read"):
        nginx_conf.parse(text)
