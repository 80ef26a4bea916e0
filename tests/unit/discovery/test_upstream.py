import random

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery.resolver import Forward, Upstream
from fairlead.discovery.upstream import DOUBTS_MAX, LAST_S, PORT_FIRST, TIMEOUT_S, Close, Forwarder, Reply, Send

SERVERS = tuple(Upstream(f"192.0.2.{last}", True) for last in range(1, 6))
QUERY = dns.message.make_query("some.example.org", "A", use_edns=False, id=99).to_wire()


def asked(chance=5, servers=SERVERS, **options):
    forwarder = Forwarder(random.Random(chance), **options)
    (send,) = forwarder.ask("s", "client", Forward(QUERY, servers, len(QUERY)), False, 0.0)
    return forwarder, send


def answer(send, rcode=0, change=lambda data: data):
    message = dns.message.make_response(dns.message.from_wire(send.data))
    message.set_rcode(rcode)
    return change(message.to_wire())


def test_the_query_goes_out_with_new_id_random_port_and_mixed_case():
    _, send = asked()
    assert send.server == SERVERS[0] and PORT_FIRST <= send.port < 65536
    assert send.data[2:].lower() == QUERY[2:].lower() and send.data[:2] != QUERY[:2] and send.data[12:] != QUERY[12:]


def test_ids_ports_and_cases_spread():
    sends = [asked(chance)[1] for chance in range(2000)]
    assert len({send.data[:2] for send in sends}) > 1900 and len({send.port for send in sends}) > 1900
    assert len({send.data[12:] for send in sends}) > 1000


def test_the_reply_comes_back_with_the_clients_id_and_spelling():
    forwarder, send = asked()
    close, reply = forwarder.receive(send.token, answer(send), 0.1)
    assert close == Close(send.token) and reply.client == "client"
    assert reply.data[:2] == QUERY[:2] and reply.data[12 : len(QUERY)] == QUERY[12:]
    assert forwarder.next_deadline() is None


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.NOERROR])
def test_definite_replies_are_passed_on(code):
    forwarder, send = asked()
    _, reply = forwarder.receive(send.token, answer(send, code), 0.1)
    assert dns.message.from_wire(reply.data).rcode() == code


@pytest.mark.parametrize(
    "forge",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:2] + bytes([data[2] & 0x7F]) + data[3:],
        lambda data: data[:13] + b"x" + data[14:],
        lambda data: data[:-3] + b"\x1c" + data[-2:],
        lambda data: data[:4] + b"\0\0" + data[6:12],
        lambda data: data[:4] + b"\0\2" + data[6:],
        lambda data: data[:11],
        lambda data: b"",
    ],
)
def test_forged_replies_are_counted_and_the_true_one_still_counts(forge):
    forwarder, send = asked()
    assert forwarder.receive(send.token, answer(send, 0, forge), 0.1) == []
    assert forwarder.counts.unbelieved == 1
    assert isinstance(forwarder.receive(send.token, answer(send), 0.2)[1], Reply)


def test_a_second_reply_is_ignored():
    forwarder, send = asked()
    forwarder.receive(send.token, answer(send), 0.1)
    assert forwarder.receive(send.token, answer(send), 0.1) == []


def test_a_server_that_loses_the_case_is_asked_again_in_plain():
    forwarder, send = asked()
    close, again = forwarder.receive(send.token, answer(send, 0, lambda data: data[:12] + data[12:].lower()), 0.1)
    assert close == Close(send.token) and again.server == send.server and again.data[:2] != send.data[:2]
    assert again.data[12:] == QUERY[12:]
    assert isinstance(forwarder.receive(again.token, answer(again), 0.2)[1], Reply)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_failures_lead_to_the_next_server_and_after_three_to_servfail(code):
    forwarder, send = asked()
    seen = [send.server]
    for _ in range(2):
        _, send = forwarder.receive(send.token, answer(send, code), 0.1)
        seen.append(send.server)
    _, reply = forwarder.receive(send.token, answer(send, code), 0.1)
    assert tuple(seen) == SERVERS[:3]
    assert dns.message.from_wire(reply.data).rcode() == dns.rcode.SERVFAIL and reply.data[:2] == QUERY[:2]


def test_an_error_without_a_question_leads_to_the_next_server():
    forwarder, send = asked()
    acts = forwarder.receive(send.token, send.data[:2] + b"\x81\x85" + bytes(8), 0.1)
    assert isinstance(acts[1], Send) and acts[1].server == SERVERS[1]


def test_silence_leads_to_the_next_server_after_four_seconds():
    forwarder, send = asked()
    assert forwarder.next_deadline() == TIMEOUT_S
    assert forwarder.tick(TIMEOUT_S - 0.1) == []
    close, again = forwarder.tick(TIMEOUT_S)
    assert close == Close(send.token) and again.server == SERVERS[1]
    assert forwarder.next_deadline() == 2 * TIMEOUT_S
    assert forwarder.receive(send.token, answer(send), 5.0) == []


def test_a_silent_server_is_asked_last_for_a_while_by_its_owner_alone():
    forwarder, _ = asked(servers=SERVERS[:3])
    forward = Forward(QUERY, SERVERS[:3], len(QUERY))
    _, second = forwarder.tick(TIMEOUT_S)
    forwarder.receive(second.token, answer(second), 4.1)

    def asks(owner, now):
        (send,) = forwarder.ask(owner, "client", forward, False, now)
        servers = [send.server]
        while isinstance(send := forwarder.fail(send.token, now)[-1], Send):
            servers.append(send.server)
        return servers

    assert asks("s", 5.0) == [SERVERS[1], SERVERS[2], SERVERS[0]]
    assert asks("t", 5.0) == list(SERVERS[:3])
    assert asks("s", TIMEOUT_S + LAST_S) == list(SERVERS[:3])
    forwarder.forget("s")
    assert asks("s", 6.0) == list(SERVERS[:3])


def test_sec_21_many_wrong_replies_lead_to_tcp_and_a_long_reply_is_cut_for_the_client():
    forwarder, send = asked()
    wrong = bytes([answer(send)[0] ^ 1]) + answer(send)[1:]
    for _ in range(DOUBTS_MAX - 1):
        assert forwarder.receive(send.token, wrong, 0.1) == []
    close, again = forwarder.receive(send.token, wrong, 0.1)
    assert close == Close(send.token) and again.tcp and not send.tcp and again.data[:2] != send.data[:2]
    assert forwarder.receive(send.token, answer(send), 0.1) == []
    assert forwarder.receive(again.token, wrong, 0.1) == []
    _, reply = forwarder.receive(again.token, answer(again) + bytes(600), 0.2)
    assert reply.data[2] & 2 and reply.data[12:] == QUERY[12:] and reply.data[:2] == QUERY[:2]
    assert forwarder.counts.unbelieved == DOUBTS_MAX + 1
    forwarder, send = asked()
    for _ in range(DOUBTS_MAX):
        acts = forwarder.receive(send.token, wrong, 0.1)
    assert [act.tcp for act in forwarder.fail(acts[1].token, 0.2) if isinstance(act, Send)] == [False]


def test_an_owner_over_its_limit_is_refused_and_others_are_not():
    forwarder, _ = asked(outstanding_max=1)
    forward = Forward(QUERY, SERVERS, len(QUERY))
    (reply,) = forwarder.ask("s", "client", forward, False, 0.0)
    assert dns.message.from_wire(reply.data).rcode() == dns.rcode.REFUSED
    assert isinstance(forwarder.ask("t", "client", forward, False, 0.0)[0], Send)


def test_room_is_given_back_after_reply_failure_and_forgetting():
    forwarder, send = asked(outstanding_max=1, servers=SERVERS[:1])
    forward = Forward(QUERY, SERVERS[:1], len(QUERY))
    forwarder.receive(send.token, answer(send), 0.1)
    (send,) = forwarder.ask("s", "client", forward, False, 1.0)
    forwarder.fail(send.token, 1.1)
    (send,) = forwarder.ask("s", "client", forward, False, 2.0)
    assert forwarder.forget("s") == [Close(send.token)]
    assert isinstance(forwarder.ask("s", "client", forward, False, 3.0)[0], Send)
    assert forwarder.next_deadline() == 3.0 + TIMEOUT_S


def test_the_greediest_makes_room_when_all_together_ask_too_much():
    forwarder, forward = Forwarder(random.Random(1), 8, 10), Forward(QUERY, SERVERS, len(QUERY))
    first = [forwarder.ask("greedy", number, forward, False, 0.0)[0] for number in range(8)]
    acts = [forwarder.ask(f"modest{number}", "m", forward, False, 0.0) for number in range(5)]
    assert [len(made) for made in acts] == [1, 1, 3, 3, 3]
    for number, (close, reply, send) in enumerate(acts[2:]):
        assert close == Close(first[number].token) and reply.client == number and isinstance(send, Send)
        assert dns.message.from_wire(reply.data).rcode() == dns.rcode.REFUSED
    (refused,) = forwarder.ask("greedy", "again", forward, False, 0.0)
    assert isinstance(refused, Reply) and forwarder.counts.refused == 4


@given(st.binary(max_size=100), st.binary(max_size=60))
def test_arbitrary_replies_never_raise_and_are_not_believed(noise, tail):
    forwarder, send = asked()
    forwarder.receive(send.token, noise, 0.1)
    for data in (send.data[:2] + noise, send.data[:2] + b"\x81\x80" + send.data[4:] + tail):
        acts = forwarder.receive(send.token, data, 0.1)
        assert all(isinstance(act, Send | Close | Reply) for act in acts)
