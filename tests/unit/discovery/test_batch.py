import ctypes

from fairlead.discovery.batch import SLOTS, Batch, Calls, address


def calls(receive=lambda *_: -1, send=lambda *_: 0):
    return Calls(
        lambda room: ctypes.addressof((ctypes.c_char * len(room)).from_buffer(room)), lambda at: at, receive, send, 64
    )


def test_unsent_answers_are_counted_and_the_rest_goes_on():
    results, seen = [2, -1, 3], []

    def send(fd, _messages, count, _flags):
        seen.append((fd, count))
        return results.pop(0)

    batch = Batch(calls(send=send))
    assert batch.send(7, 6) == 1 and seen == [(7, 6), (7, 4), (7, 3)]


def test_an_empty_socket_has_no_packets():
    assert Batch(calls()).receive(3) == -1


def test_answers_stand_in_their_slots():
    batch = Batch(calls(receive=lambda _fd, _messages, count, _flags, _limit: count))
    assert batch.receive(3) == SLOTS
    batch.put(0, 0, b"first")
    batch.put(1, 5, b"second")
    assert bytes(batch.replies[:5]) == b"first" and bytes(batch.replies[4096:4102]) == b"second"
    assert address(batch.peer(0)) == ("0.0.0.0", 0)


def test_queued_answers_leave_together_but_not_with_those_of_another_socket():
    seen = []

    def send(fd, _messages, count, _flags):
        seen.append((fd, count))
        return count

    batch = Batch(calls(send=send))
    peer = bytes((2, 0, 0xC0, 0x01, 10, 0, 0, 2)) + bytes(8)
    batch.flush()
    for fd in (4, 4, 5, *[6] * (SLOTS + 1)):
        batch.queue(fd, peer, b"answer")
    assert seen == [(4, 2), (5, 1), (6, SLOTS)] and batch.queued == 1 and address(batch.peer(0)) == ("10.0.0.2", 0xC001)
    batch.flush()
    assert seen[-1] == (6, 1) and batch.queued == 0 and bytes(batch.replies[:6]) == b"answer"
