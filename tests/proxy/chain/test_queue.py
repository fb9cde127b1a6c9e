from hypothesis import given
from hypothesis import strategies as st

from proxy.chain.queue import Queue, Ticket, refusal


def queued(*priorities: int, model: str = "chat", place: str = "a") -> tuple[Queue[Ticket], list[Ticket]]:
    queue: Queue[Ticket] = Queue()
    tickets = [Ticket(model, priority, queue.next_number()) for priority in priorities]
    for ticket in tickets:
        queue.enter(ticket, (place,), 0.0)
    return queue, tickets


def drained(queue: Queue[Ticket], place: str = "a") -> list[Ticket]:
    """Everybody in this line, in the order of their turns."""
    gone = []
    while (ticket := queue.first(place)) is not None:
        queue.leave(ticket)
        gone.append(ticket)
    return gone


def test_the_higher_priority_goes_first_and_then_who_came_first() -> None:
    queue, (low, high, middle, high_too) = queued(1, 9, 5, 9)
    assert drained(queue) == [high, high_too, middle, low]


def test_one_that_comes_back_stands_where_it_stood() -> None:
    queue, (first, second, third) = queued(5, 5, 5)
    queue.leave(first)
    queue.leave(second)
    queue.enter(second, ("a",), 1.0)
    queue.enter(first, ("a",), 1.0)
    assert drained(queue) == [first, second, third]


def test_each_place_has_a_line_of_its_own() -> None:
    queue, [first] = queued(5, place="a")
    second = Ticket("large", 5, queue.next_number())
    queue.enter(second, ("a", "b"), 0.0)
    assert queue.first("a") is first
    assert queue.first("b") is second
    assert queue.first("c") is None


def test_who_leaves_leaves_every_line_and_may_leave_twice() -> None:
    queue: Queue[Ticket] = Queue()
    ticket = Ticket("chat", 5, queue.next_number())
    queue.enter(ticket, ("a", "b"), 0.0)
    queue.leave(ticket)
    queue.leave(ticket)
    assert (queue.first("a"), queue.first("b"), queue.first_of("chat"), len(queue)) == (None, None, None, 0)
    assert ticket.places == ()


def test_the_first_of_a_model_is_found_whatever_it_waits_for() -> None:
    queue, _ = queued(5, model="chat", place="a")
    other = Ticket("large", 1, queue.next_number())
    queue.enter(other, ("b",), 0.0)
    assert queue.first_of("large") is other
    assert queue.first_of("small") is None


def test_the_last_of_the_lowest_priority_makes_way_for_a_higher_one() -> None:
    queue, (_, early, late) = queued(5, 3, 3)
    assert queue.last_below(4) is late
    assert queue.last_below(3) is None
    queue.leave(late)
    assert queue.last_below(9) is early


def test_an_empty_queue_has_nobody_to_make_way() -> None:
    assert queued()[0].last_below(9) is None


def test_the_pace_of_a_line_says_how_long_it_will_take() -> None:
    queue, tickets = queued(*[5] * 12)
    for at, ticket in enumerate(tickets[:4], 1):  # one every 2 seconds
        queue.leave(ticket)
        queue.served(ticket, 2.0 * at)
    assert queue.estimate_s("chat", 8.0) == 9 * 2.0


def test_what_cannot_be_known_is_a_second() -> None:
    queue, _ = queued(5)
    assert queue.estimate_s("chat", 0.0) == 1.0
    assert queue.estimate_s("large", 5.0) == 1.0


def test_a_line_that_does_not_move_takes_long_but_never_more_than_a_minute() -> None:
    queue, _ = queued(5, 5)
    assert queue.estimate_s("chat", 5.0) == 15.0
    assert queue.estimate_s("chat", 500.0) == 60.0


def test_being_served_when_nobody_else_waits_is_forgotten() -> None:
    queue, [ticket] = queued(5)
    queue.leave(ticket)
    queue.served(ticket, 1.0)
    assert queue.estimate_s("chat", 1.0) == 1.0


def test_a_refusal_says_why_and_when_to_come_again() -> None:
    error = refusal("deadline", 3.2, 10.04)
    assert (error.status, error.code, error.retry_after_s) == (503, "overloaded", 3.2)
    assert "waited 10.0 s" in error.message
    assert "again in 4 s" in error.message


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "ab"]), st.booleans()), max_size=40))
def test_lines_are_in_order_whoever_leaves(entries: list[tuple[int, str, bool]]) -> None:
    queue: Queue[Ticket] = Queue()
    staying: list[Ticket] = []
    places: dict[Ticket, str] = {}
    for priority, lines, leaves in entries:
        ticket = Ticket("chat", priority, queue.next_number())
        queue.enter(ticket, tuple(lines), 0.0)
        places[ticket] = lines
        staying.append(ticket)
        if leaves:
            queue.leave(staying.pop(len(staying) // 2))
    assert len(queue) == len(staying)
    for place in "ab":
        wanted = sorted((one for one in staying if place in places[one]), key=lambda one: one.rank)
        line = []
        while (first := queue.first(place)) is not None:
            line.append(first)
            queue.leave(first)
        assert line == wanted
        for ticket in wanted:
            queue.enter(ticket, tuple(places[ticket]), 0.0)
