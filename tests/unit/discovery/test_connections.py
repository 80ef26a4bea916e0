import errno

from fairlead.discovery.connections import Connection, dial, hear
from fairlead.discovery.resolver import Upstream
from fairlead.discovery.stream import UNREAD_MAX, frame
from fairlead.discovery.upstream import Send

MESSAGE = bytes(range(12))


class Pipe:
    """A non-blocking socket that takes ``room`` octets and gives what is in ``arriving``; an exception is raised."""

    def __init__(self, room=10_000, arriving=(), bind_error=None, connected=0):
        self.room, self.arriving, self.bind_error, self.connected = room, list(arriving), bind_error, connected
        self.sent, self.address = b"", None

    def send(self, data):
        if isinstance(self.room, OSError):
            raise self.room
        if not self.room:
            raise BlockingIOError
        size = min(self.room, len(data))
        self.room -= size
        self.sent += bytes(data[:size])
        return size

    def recv(self, _size):
        if not self.arriving:
            raise BlockingIOError
        piece = self.arriving.pop(0)
        if isinstance(piece, OSError):
            raise piece
        return piece

    def bind(self, address):
        if self.bind_error:
            raise OSError(self.bind_error, "bind")
        self.address = address

    def connect_ex(self, _address):
        return self.connected


def opened(pipe, **options):
    wants = []
    return Connection(pipe, wants.append, 0.0, **options), wants


def test_replies_are_framed_and_sent_at_once():
    connection, wants = opened(pipe := Pipe())
    connection.reply(MESSAGE, 0.0)
    assert pipe.sent == frame(MESSAGE) and wants == []


def test_sec_18_a_client_that_does_not_read_is_given_up():
    connection, _ = opened(Pipe(room=0))
    answers = 0
    while not connection.closed:
        connection.reply(bytes(4096), 0.0)
        answers += 1
    assert answers == UNREAD_MAX // (4096 + 2) + 1


def test_a_full_socket_is_waited_for_and_then_no_more():
    connection, wants = opened(pipe := Pipe(room=5))
    connection.reply(MESSAGE, 0.0)
    assert wants == [True]
    pipe.room = 100
    connection.flush()
    assert pipe.sent == frame(MESSAGE) and wants == [True, False]


def test_the_first_message_waits_for_the_connection():
    connection, wants = opened(pipe := Pipe(), first=MESSAGE)
    assert pipe.sent == b""
    connection.flush()
    assert pipe.sent == frame(MESSAGE) and wants == [False]


def test_reading_gives_messages_and_closes_on_end_error_and_fault():
    connection, _ = opened(Pipe(arriving=[frame(MESSAGE), b""]))
    assert connection.read(0.0) == [MESSAGE] and not connection.closed
    assert connection.read(0.0) == [] and connection.closed
    for bad in (ConnectionResetError(), b"\0\0"):
        connection, _ = opened(Pipe(arriving=[bad]))
        assert connection.read(0.0) == [] and connection.closed
    connection, _ = opened(Pipe())
    assert connection.read(0.0) == [] and not connection.closed


def test_a_broken_socket_closes_and_takes_no_more():
    connection, _ = opened(pipe := Pipe(room=BrokenPipeError()))
    connection.reply(MESSAGE, 0.0)
    connection.reply(MESSAGE, 0.0)
    assert connection.closed and pipe.sent == b""


def asked(*, tcp=False):
    return Send(1, "s", Upstream("192.0.2.1", True), tcp, 20_000, MESSAGE)


def test_dialling_takes_the_random_port_or_any_when_it_is_taken():
    assert dial(pipe := Pipe(), asked()) and pipe.address == ("", 20_000) and pipe.sent == MESSAGE
    assert dial(pipe := Pipe(bind_error=errno.EADDRINUSE), asked()) and pipe.sent == MESSAGE
    assert not dial(Pipe(bind_error=errno.EPERM), asked())


def test_dialling_fails_without_a_route_and_waits_over_tcp():
    assert not dial(Pipe(connected=errno.ENETUNREACH), asked())
    assert not dial(Pipe(room=ConnectionRefusedError()), asked())
    assert dial(pipe := Pipe(connected=errno.EINPROGRESS), asked(tcp=True)) and pipe.sent == b""


def test_hearing_tells_nothing_yet_from_nobody_there():
    assert hear(Pipe(arriving=[MESSAGE])) == MESSAGE
    assert hear(Pipe()) == b""
    assert hear(Pipe(arriving=[ConnectionRefusedError()])) is None
