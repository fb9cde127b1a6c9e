"""The composition root: the only room that knows every other."""

from proxy.app.gateway import Gateway
from proxy.app.state import State, open_state
from proxy.app.world import World

__all__ = ["Gateway", "State", "World", "open_state"]
