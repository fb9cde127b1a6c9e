"""The HTTP face: what clients and operators see."""

from proxy.api.respond import Exchange
from proxy.api.routes import Face, admin_face, client_face
from proxy.api.surface import Desk, Surface

__all__ = ["Desk", "Exchange", "Face", "Surface", "admin_face", "client_face"]
