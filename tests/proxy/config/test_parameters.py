from proxy.config.parameters import KEPT, PARAMETERS
from proxy.wire.chat import _FIELDS
from routing.needs import _READERS, DROPPABLE


def test_every_parameter_that_a_request_is_checked_for_is_known() -> None:
    assert _FIELDS.keys() | _READERS.keys() <= PARAMETERS


def test_what_may_be_dropped_for_a_need_is_not_kept_and_the_rest_of_what_asks_for_something_is() -> None:
    droppable = {parameter for parameters in DROPPABLE.values() for parameter in parameters}
    assert droppable <= PARAMETERS - KEPT
    assert _READERS.keys() - droppable <= KEPT
