"""Hosts for the tests of this directory: one for each module that only asks, one for each test that breaks things."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.kernel.one_host.host import Host

_PROGRAMS = ("nsenter", "ip", "nft", "ping", "runc", "conmon")

MakeHost = Callable[..., Host]


@pytest.fixture(scope="module")
def make_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHost]:
    """Makes hosts that end with the module, and must leave nothing."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"programs are missing: {', '.join(missing)}; ./run test installs them")
    made: list[Host] = []

    def make(**fields: bool) -> Host:
        host = Host(tmp_path_factory.mktemp("h"), **fields)
        made.append(host)
        return host

    yield make
    left = [line for host in reversed(made) for line in host.close()]
    assert not left, "\n".join(left)


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    """A host with a daemon that all tests of a module share."""
    made = make_host()
    made.start()
    return made
