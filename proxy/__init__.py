"""Waystation serves: the HTTP face, the middleware chain and the providers. What to ask whom is decided in `routing`."""

__version__ = "0.1.0"
