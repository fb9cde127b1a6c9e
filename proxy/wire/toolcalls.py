"""The deltas of tool calls within one choice, brought to what the SDKs' accumulators take.

Accumulators join strings: an id or name that is sent twice comes out doubled, and a delta without an index raises.
Upstreams send ids with every delta (some a new one each time), empty strings, no index, or one index for all calls.
"""

from __future__ import annotations

import orjson

from proxy.wire.failure import MalformedAnswer


class ToolCallDeltas:
    """Follows the tool calls of one choice through a stream."""

    __slots__ = ("_by_id", "_by_upstream_index", "_identified", "_known", "_last", "_named")

    def __init__(self) -> None:
        self._known: set[int] = set()  # indexes as the client sees them
        self._by_id: dict[str, int] = {}
        self._by_upstream_index: dict[int, int] = {}
        self._identified: set[int] = set()  # those whose id has been sent
        self._named: set[int] = set()
        self._last = -1  # the index that the last delta belonged to

    def normalise(self, calls: object) -> bool:
        """Mend a `tool_calls` array in place: index always, id, type and name once. Did anything change?"""
        if calls is None:
            return False
        if not isinstance(calls, list):
            raise MalformedAnswer("tool_calls is no array")
        is_changed = False
        for call in calls:
            if not isinstance(call, dict):
                raise MalformedAnswer("a tool call is no object")
            is_changed |= self._normalise_call(call)
        return is_changed

    def _normalise_call(self, call: dict[str, object]) -> bool:
        function = call.get("function")
        is_changed = False
        if function is not None and not isinstance(function, dict):
            raise MalformedAnswer("the function of a tool call is no object")
        name = _text(function.get("name")) if function else None
        call_id = _text(call.get("id"))
        index = self._index_of(call.get("index"), call_id, name)
        if type(call.get("index")) is not int or call["index"] != index:
            call["index"] = index
            is_changed = True
        is_changed |= self._send_identity_once(call, index, call_id, name)
        if function:
            is_changed |= self._send_name_once(function, index, name)
            arguments = function.get("arguments")
            if arguments is not None and not isinstance(arguments, str):
                function["arguments"] = orjson.dumps(arguments).decode()
                is_changed = True
        return is_changed

    def _index_of(self, index: object, call_id: str | None, name: str | None) -> int:
        upstream = index if type(index) is int and index >= 0 else None
        if call_id is not None and call_id in self._by_id:
            own = self._by_id[call_id]
        elif upstream is not None and upstream in self._by_upstream_index:
            own = self._by_upstream_index[upstream]
            # A new id alone is noise (old vLLM makes one up for each delta); with a name it is another call (Gemini).
            if call_id is not None and name is not None and own in self._identified:
                own = max(self._known) + 1
        elif upstream is None and call_id is None and name is None and self._last >= 0:
            own = self._last
        elif upstream is not None and upstream not in self._known:
            own = upstream
        else:
            own = max(self._known, default=-1) + 1
        self._known.add(own)
        self._last = own
        if call_id is not None:
            self._by_id[call_id] = own
        if upstream is not None:
            self._by_upstream_index[upstream] = own
        return own

    def _send_identity_once(self, call: dict[str, object], index: int, call_id: str | None, name: str | None) -> bool:
        is_changed = False
        if index in self._identified or (call_id is None and name is None):
            for key in ("id", "type"):
                if index in self._identified or not call.get(key):
                    is_changed |= _drop(call, key)
            return is_changed
        self._identified.add(index)
        if call_id is None:  # no client can answer a call that has no id
            call["id"] = f"call_{index}"
            is_changed = True
        if not call.get("type"):
            call["type"] = "function"
            is_changed = True
        return is_changed

    def _send_name_once(self, function: dict[str, object], index: int, name: str | None) -> bool:
        if name is not None and index not in self._named:
            self._named.add(index)
            return False
        return _drop(function, "name")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _drop(members: dict[str, object], key: str) -> bool:
    if key not in members:
        return False
    del members[key]
    return True
