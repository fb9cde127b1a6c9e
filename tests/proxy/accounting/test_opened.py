from proxy.accounting.opened import OpenCalls


def test_calls_grow_old_unless_they_are_closed() -> None:
    calls = OpenCalls()
    calls.open(b"1", b"first")
    calls.open(b"2", b"second")
    calls.close(b"1")
    assert calls.old == []
    calls.age()
    calls.open(b"3", b"third")
    assert calls.old == [b"second"]
    calls.age()
    assert calls.old == [b"third"]
    calls.age()
    assert calls.old == []


def test_an_old_call_may_still_be_closed_and_one_that_is_not_here_too() -> None:
    calls = OpenCalls()
    calls.open(b"1", b"first")
    calls.age()
    calls.close(b"1")
    calls.close(b"1")
    assert calls.old == []
