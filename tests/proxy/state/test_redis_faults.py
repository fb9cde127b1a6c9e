import pytest

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_faults import away, fault_of, kind_of

#: What versions before 7 make of an error inside a script.
OLD = "ERR Error running script (call to f_ab): @user_script:1: @user_script: 3: -{} command not allowed"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        (OLD.format("OOM"), "OOM"),
        (OLD.format("READONLY"), "READONLY"),
        ("READONLY You can't write against a read only replica. script: ab, on @user_script:1.", "READONLY"),
        ("NOSCRIPT No matching script.", "NOSCRIPT"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED"),
        ("BUSY Redis is busy running a script.", "BUSY"),
        ("BUSYGROUP Consumer Group name already exists", "BUSYGROUP"),
        ("ERR unknown command", "ERR"),
        ("my own words", "ERR"),
        ("Secret-word of somebody", "ERR"),
        ("", "ERR"),
    ],
)
def test_an_error_has_a_kind(text: str, kind: str) -> None:
    assert kind_of(text) == kind


@pytest.mark.parametrize("kind", ["READONLY", "LOADING", "MASTERDOWN", "BUSY", "OOM", "MISCONF", "CLUSTERDOWN"])
def test_what_will_pass_is_no_failure_of_the_command(kind: str) -> None:
    assert isinstance(fault_of(kind, "", "GET"), StateAway)


def test_what_a_server_says_is_not_repeated() -> None:
    fault = fault_of(
        "ERR", "ERR unknown command, with args beginning with: 's3cret' user_script:12: ", "the script 'x'"
    )
    assert type(fault) is StateFailed
    assert str(fault) == "Redis refused the script 'x': ERR, line 12 of the script"
    assert isinstance(away(), StateAway)
