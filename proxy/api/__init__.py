"""The HTTP face: what clients and operators see."""

from proxy.api.changes import instant
from proxy.api.keys import KeyRow, list_keys
from proxy.api.respond import Exchange
from proxy.api.routes import Face, admin_face, client_face
from proxy.api.surface import Desk, Surface

__all__ = ["Desk", "Exchange", "Face", "KeyRow", "Surface", "admin_face", "client_face", "instant", "list_keys"]
