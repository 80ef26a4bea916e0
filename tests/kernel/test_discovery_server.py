"""The DNS server on real sockets: names, forwarding, changes, and what is left at its end."""

from __future__ import annotations

import os
import socket

import dns.flags
import dns.message
import dns.rcode
import pytest
from tests.kernel.discovery_world import NEAR, OUT, play, texts

from fairlead.discovery.names import DNS_ADDRESS, DNS_PORT
from fairlead.discovery.resolver import Upstream, View


def test_names_are_answered_on_port_53_over_udp_and_tcp():
    def scenario(world):
        world.serve(View(("n",)))
        for ask in (world.ask, world.ask_tcp):
            assert texts(ask("web")) == ["10.0.0.2"] == texts(ask("WEB.net"))
            assert texts(ask("web", "AAAA")) == ["fd00::2"]
            assert texts(ask("2.0.0.10.in-addr.arpa", "PTR")) == ["web.net."]
            assert ask("absent").rcode() == dns.rcode.NXDOMAIN
        sock = world.dial()
        assert all(texts(world.ask_tcp("web", sock=sock)) == ["10.0.0.2"] for _ in range(20))

    play(scenario)


def test_changes_are_in_force_when_their_calls_return():
    def scenario(world):
        world.serve(View(("n",)))
        for number in range(100):
            world.server.register("n", "net", "x", ("moving",), f"10.0.1.{number}", "")
            assert texts(world.ask("moving")) == [f"10.0.1.{number}"]
            world.server.unregister("n", "x")
            assert world.ask("moving").rcode() == dns.rcode.NXDOMAIN
        assert texts(world.ask("web")) == ["10.0.0.2"] == texts(world.ask("web"))
        world.server.update_view("s", View(()))
        assert world.ask("web").rcode() == dns.rcode.NXDOMAIN
        world.server.update_view("s", View(("n",)))
        assert texts(world.ask("web")) == ["10.0.0.2"]
        assert world.server.statistics().hits > 0

    play(scenario)


def test_a_shared_name_answers_all_and_spreads():
    def scenario(world):
        for number in range(3):
            world.server.register("n", "net", f"a{number}", ("all",), f"10.0.1.{number}", "")
        world.serve(View(("n",)))
        answers = [world.ask("all") for _ in range(300)]
        assert all(texts(answer) == ["10.0.1.0", "10.0.1.1", "10.0.1.2"] for answer in answers)
        firsts = [answer.answer[0][0].to_text() for answer in answers]
        assert all(70 <= firsts.count(f"10.0.1.{number}") <= 130 for number in range(3))

    play(scenario)


def test_a_long_answer_is_truncated_over_udp_and_whole_over_tcp():
    def scenario(world):
        for number in range(100):
            world.server.register("n", "net", f"a{number}", ("all",), f"10.0.1.{number}", "")
        world.serve(View(("n",)))
        assert world.ask("all", use_edns=False).flags & dns.flags.TC
        assert len(world.ask("all", use_edns=0, payload=4096).answer[0]) == 100
        assert len(world.ask_tcp("all").answer[0]) == 100

    play(scenario)


@pytest.mark.parametrize("from_host", [True, False])
def test_outside_names_are_forwarded_over_the_same_transport(from_host):
    def scenario(world):
        stub = world.stub(world.outside if from_host else world.inside)
        world.serve(View(("n",), True, OUT if from_host else NEAR, netns="box"))
        assert texts(world.ask("Www.example.org")) == ["192.0.2.80"] == texts(world.ask_tcp("www.example.org"))
        assert len(stub.seen) == 2
        for query, _ in stub.seen:
            assert dns.message.from_wire(query).question[0].name == dns.name.from_text("www.example.org")

    play(scenario)


def test_a_reply_from_outside_is_kept_for_its_sandbox_until_names_or_servers_change():
    def scenario(world):
        stub = world.stub(world.outside)
        world.serve(View(("n",), True, OUT))

        def asked(count):
            assert all(texts(world.ask("www.net.example")) == ["192.0.2.80"] for _ in range(3))
            assert len(stub.seen) == count

        asked(1)
        world.server.register("elsewhere", "elsewhere", "e", ("www",), "10.9.9.9", "")
        asked(1)
        world.server.register("n", "net", "new", ("other",), "10.0.0.8", "")
        asked(2)
        world.server.register("n", "net", "new", ("www.net.example",), "10.0.0.9", "")
        assert texts(world.ask("www.net.example")) == ["10.0.0.9"]
        world.server.unregister("n", "new")
        asked(3)
        world.server.update_view("s", View(("n",), True, OUT))
        asked(4)
        world.server.update_view("s", View(("n",), False, OUT))
        assert world.ask("www.net.example").rcode() == dns.rcode.NXDOMAIN

    play(scenario)


def test_a_burst_of_names_of_both_kinds_leaves_no_socket_behind():
    def scenario(world):
        world.stub(world.inside)
        world.serve(View(("n",), True, NEAR, netns="box"))
        names = [name for number in range(30) for name in ("web", f"h{number}.example.org", "absent")]
        assert texts(world.ask("first.example.org")) == ["192.0.2.80"]
        before = len(os.listdir("/proc/self/fd"))
        with world.inside(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((DNS_ADDRESS, DNS_PORT))
            for number, name in enumerate(names):
                sock.send(dns.message.make_query(name, "A", id=number).to_wire())
            answers = [dns.message.from_wire(sock.recv(4096)) for _ in names]
        assert {answer.id for answer in answers} == set(range(len(names)))
        assert len(os.listdir("/proc/self/fd")) == before

    play(scenario)


def test_a_dead_or_failing_server_leads_to_the_next_or_to_servfail():
    def scenario(world):
        world.stub(world.inside)
        world.serve(View(("n",), True, OUT + NEAR, netns="box"))
        for ask in (world.ask, world.ask_tcp):
            assert texts(ask("www.example.org")) == ["192.0.2.80"]
        for dead in (OUT, (Upstream("192.0.2.9", True),), (Upstream("2001:db8::9", True),)):
            world.server.update_view("s", View(("n",), True, dead))
            for ask in (world.ask, world.ask_tcp):
                assert ask("www.example.org").rcode() == dns.rcode.SERVFAIL

    play(scenario)


def test_internal_sandboxes_and_single_labels_send_nothing_out():
    def scenario(world):
        stub = world.stub(world.outside)
        world.serve(View(("n",), False, OUT))
        for ask in (world.ask, world.ask_tcp):
            for name, kind in (("random.example", "A"), ("9.9.9.9.in-addr.arpa", "PTR"), ("x.net", "TXT")):
                assert ask(name, kind).rcode() == dns.rcode.NXDOMAIN
        world.server.update_view("s", View(("n",), True, OUT, ("corp.example",), 1))
        assert world.ask("db").rcode() == dns.rcode.NXDOMAIN
        assert texts(world.ask("web.corp.example")) == ["10.0.0.2"]
        assert not stub.seen

    play(scenario)


def test_removed_sandboxes_and_a_closed_server_leave_no_socket():
    def scenario(world):
        world.serve(View(("n",)))
        assert texts(world.ask_tcp("web")) == ["10.0.0.2"]
        world.server.remove_sandbox("s")
        world.server.remove_sandbox("s")
        assert world.server.statistics().sandboxes == 0
        world.server.close()
        assert world.udp.fileno() == world.listener.fileno() == -1
        assert world.server.statistics().entries == world.server.statistics().connections == 0

    play(scenario)
