"""Fairlead: Docker's networking, whole, for any container."""

__version__ = "0.1.0"
