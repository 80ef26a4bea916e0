"""What a daemon tells its service manager, and what it takes over from it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.daemon.service import STORE_MAX, ServiceManager

PID = 4242


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    """The manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        yield receiver


def of(inbox: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": inbox.getsockname(), **more}


def test_nobody_is_told_when_there_is_no_manager() -> None:
    service = ServiceManager({}, PID)
    service.tell("READY=1")
    service.keep("x", 0)
    assert (service.keeps, service.watchdog_s, service.take("x")) == (False, 0.0, [])
    asyncio.run(asyncio.wait_for(service.live(lambda: pytest.fail("nobody wants a sign of life")), 5))


def test_assignments_come_in_one_message_and_no_child_inherits_the_address(inbox: socket.socket) -> None:
    environment = of(inbox, LISTEN_FDS="0", WATCHDOG_USEC="1")
    service = ServiceManager(environment, PID)
    service.tell("READY=1", "STATUS=well")
    assert inbox.recv(100) == b"READY=1\nSTATUS=well"
    assert environment == {}


def test_descriptors_are_given_to_keep_and_let_go(inbox: socket.socket) -> None:
    service = ServiceManager(of(inbox), PID)
    reading, writing = os.pipe()
    service.keep("pipe", reading, writing)
    words, kept, _, _ = socket.recv_fds(inbox, 100, 5)
    os.write(kept[1], b"same")
    assert (words, os.read(reading, 9)) == (b"FDSTORE=1\nFDNAME=pipe", b"same")
    service.drop("pipe")
    assert inbox.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=pipe"
    for descriptor in (reading, writing, *kept):
        os.close(descriptor)
    for name, count in (("a:b", 1), ("x" * 256, 1), ("x", STORE_MAX + 1)):
        with pytest.raises(ValueError, match="cannot keep"):
            service.keep(name, *[0] * count)


def test_what_is_meant_for_another_process_is_not_taken() -> None:
    environment = {
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "x",
        "WATCHDOG_USEC": "9",
        "WATCHDOG_PID": "1",
    }
    service = ServiceManager(environment, PID)
    assert (service.take("x"), service.kept(""), service.watchdog_s) == ([], [], 0.0)


def test_a_sign_of_life_comes_only_after_a_check(inbox: socket.socket) -> None:
    service = ServiceManager(of(inbox, WATCHDOG_USEC="2000", WATCHDOG_PID=str(PID)), PID)
    checks: list[int] = []

    async def check() -> str:
        checks.append(1)
        if len(checks) > 2:
            raise RuntimeError("something hangs")
        return f"check {len(checks)}"

    with pytest.raises(RuntimeError):
        asyncio.run(service.live(check))
    assert [inbox.recv(100) for _ in range(2)] == [b"WATCHDOG=1\nSTATUS=check 1", b"WATCHDOG=1\nSTATUS=check 2"]
    inbox.setblocking(False)
    with pytest.raises(BlockingIOError):
        inbox.recv(100)


def test_a_reload_carries_the_time(inbox: socket.socket) -> None:
    ServiceManager(of(inbox), PID).reloading()
    first, second = inbox.recv(100).decode().splitlines()
    assert (first, second.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
