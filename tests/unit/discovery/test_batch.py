import ctypes

from fairlead.discovery.batch import SLOTS, Batch, Calls


def address(room):
    return ctypes.addressof((ctypes.c_char * len(room)).from_buffer(room))


def test_unsent_answers_are_counted_and_the_rest_goes_on():
    results, seen = [2, -1, 3], []

    def send(fd, _messages, count):
        seen.append((fd, count))
        return results.pop(0)

    batch = Batch(Calls(address, lambda *_: -1, send))
    assert batch.send(7, 6) == 1 and seen == [(7, 6), (7, 4), (7, 3)]


def test_an_empty_socket_has_no_packets():
    assert Batch(Calls(address, lambda _fd, _messages, _count: -1, lambda *_: 0)).receive(3) == -1


def test_answers_stand_in_their_slots():
    batch = Batch(Calls(address, lambda _fd, _messages, count: count, lambda *_: 0))
    assert batch.receive(3) == SLOTS
    batch.put(0, 0, b"first")
    batch.put(1, 5, b"second")
    assert bytes(batch.replies[:5]) == b"first" and bytes(batch.replies[4096:4102]) == b"second"
    assert batch.peer(0) == ("0.0.0.0", 0)
