"""The HTTP face: what clients and operators see."""

from proxy.api.changes import instant
from proxy.api.keys import KeyRow, list_keys
from proxy.api.reading import ReadingRoom, Reports, open_reports
from proxy.api.respond import Exchange
from proxy.api.routes import Face, admin_face, client_face
from proxy.api.surface import Desk, Surface

__all__ = [
    "Desk",
    "Exchange",
    "Face",
    "KeyRow",
    "ReadingRoom",
    "Reports",
    "Surface",
    "admin_face",
    "client_face",
    "instant",
    "list_keys",
    "open_reports",
]
