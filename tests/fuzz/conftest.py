"""Hosts to be fuzzed: the same as in ``tests/kernel/one_host``."""

from __future__ import annotations

from tests.kernel.one_host.conftest import host, make_host

__all__ = ["host", "make_host"]
