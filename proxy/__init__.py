"""Waystation serves: the HTTP face, the middleware chain and the providers. Whom to ask is decided in `routing`."""

__version__ = "0.1.0"
