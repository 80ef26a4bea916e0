"""A terminal joined to a container or to a command in one: bytes both ways, signals, the terminal's size.

The main thread reads the output, so that signals are handled between its pieces; one thread reads the keyboard.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fairlead.api.client import Client, Reply
from fairlead.cli.console import path
from fairlead.model.detach import Escape
from fairlead.model.errors import NetError

#: Bytes read from the keyboard or a pipe at a time.
_CHUNK_BYTES = 64 * 1024
#: Signals that are handed on to the container instead of ending us, by Docker's rule: all that can be caught and do
#: not speak of our own terminal or children.
_HANDED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT")


def pump(reply: Reply, *, tty_mode: bool, stdin: bool, detach_keys: bytes = b"") -> bool:
    """Carry bytes until the other side ends: our input to it, its output to our output. True when we left before, by
    typing ``detach_keys`` at a terminal."""
    left = threading.Event()
    if stdin:
        escape = Escape(detach_keys) if detach_keys and tty_mode else None
        threading.Thread(target=_feed, args=(reply, escape, left), daemon=True).start()
    out, err = sys.stdout.buffer, sys.stderr.buffer
    pieces = (("stdout", piece) for piece in reply.pieces()) if tty_mode else reply.frames()
    with suppress(ConnectionResetError):
        for stream, data in pieces:
            sink = err if stream == "stderr" else out
            sink.write(data)
            sink.flush()
    return left.is_set()


@contextmanager
def signals_to(client: Client, container: str) -> Iterator[None]:
    """Hand signals on to a container while this lasts."""

    def hand_on(number: int, _: object) -> None:
        with suppress(NetError):
            client.post(path("containers", container, "kill"), query={"signal": signal.Signals(number).name})

    before = {name: signal.signal(getattr(signal, name), hand_on) for name in _HANDED_ON}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextmanager
def raw_terminal(resize: Callable[[int, int], object]) -> Iterator[None]:
    """Hand every key on as it is pressed, and the terminal's size (height, width) now and at each change."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def tell(*_: object) -> None:
        with suppress(NetError, OSError):
            size = os.get_terminal_size(descriptor)
            resize(size.lines, size.columns)

    handler = signal.signal(signal.SIGWINCH, tell)
    try:
        tty.setraw(descriptor)
        tell()
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _feed(reply: Reply, escape: Escape | None, left: threading.Event) -> None:
    """Our input to the other side, and its end as a half-close; the whole close when the keys that leave are typed."""
    descriptor = sys.stdin.fileno()
    with suppress(OSError):
        while data := os.read(descriptor, _CHUNK_BYTES):
            leaves = False
            if escape is not None:
                data, leaves = escape.feed(data)
            reply.connection.sendall(data)
            if leaves:
                left.set()
                reply.connection.shutdown(socket.SHUT_RDWR)
                return
        reply.end_input()
