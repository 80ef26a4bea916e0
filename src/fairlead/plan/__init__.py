"""The vocabulary of Linux network objects, and arithmetic on it.

Layer 1, pure. A ``Plan`` is a set of objects that should exist; ``diff`` turns two plans into ordered steps; ``render``
turns plans into text and back. It knows nothing of containers, networks or drivers, and never asks Linux.
"""
