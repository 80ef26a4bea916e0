import random

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery.names import Tables
from fairlead.discovery.resolver import Answer, Forward, Silence, Upstream, View, resolve

UP = (Upstream("192.0.2.1", True),)
CHANCE = random.Random(1)


@pytest.fixture
def tables():
    made = Tables()
    made.register("n1", "front", "e1", ("Web", "www", "0123456789ab"), "10.0.0.2/24", "fd00::2/64")
    made.register("n1", "front", "e2", ("db.main", "all"), "10.0.0.3/24", "")
    made.register("n2", "back.end", "e3", ("db", "all"), "10.1.0.3/24", "")
    return made


def ask(tables, name, kind="A", *, view=None, tcp=False, **options):
    view = view or View(("n1", "n2"), True, UP)
    query = dns.message.make_query(name, kind, **options)
    outcome = resolve(tables, view, query.to_wire(), CHANCE, tcp=tcp)
    if not isinstance(outcome, Answer):
        return outcome
    message = dns.message.from_wire(query.to_wire()[:2] + outcome.bodies[0])
    assert query.is_response(message)
    return message


def texts(message):
    assert message.rcode() == dns.rcode.NOERROR
    return sorted(record.to_text() for rrset in message.answer for record in rrset)


def test_names_aliases_and_short_ids_answer_in_any_case(tables):
    for name in ("web", "WEB", "www", "0123456789ab", "web.front", "WWW.Front"):
        assert texts(ask(tables, name)) == ["10.0.0.2"]
    assert texts(ask(tables, "web", "AAAA")) == ["fd00::2"]
    assert texts(ask(tables, "web", "ANY")) == ["10.0.0.2", "fd00::2"]


def test_dotted_names_are_split_at_every_dot(tables):
    assert texts(ask(tables, "db.main")) == ["10.0.0.3"]
    assert texts(ask(tables, "db.main.front")) == ["10.0.0.3"]
    assert texts(ask(tables, "db.back.end")) == ["10.1.0.3"]
    assert isinstance(ask(tables, "db.front"), Forward)


def test_the_first_network_of_the_sandbox_wins(tables):
    assert texts(ask(tables, "all")) == ["10.0.0.3"]
    assert texts(ask(tables, "all", view=View(("n2", "n1")))) == ["10.1.0.3"]


def test_networks_out_of_sight_do_not_exist(tables):
    assert ask(tables, "db", view=View(("n1",), True, UP)).rcode() == dns.rcode.NXDOMAIN
    assert ask(tables, "web", view=View((), True, UP)).rcode() == dns.rcode.NXDOMAIN


def test_answers_live_for_600_seconds(tables):
    assert ask(tables, "web").answer[0].ttl == 600


def test_an_answer_may_be_kept_as_long_as_its_endpoint_says() -> None:
    tables = Tables()
    tables.register("n1", "net", "e", ("web",), "10.0.0.2", "fd00::2", 2)
    assert [ask(tables, "web", kind).answer[0].ttl for kind in ("A", "AAAA")] == [2, 2]


@pytest.mark.parametrize("kind", ["AAAA", "MX", "TXT", "SRV", "HTTPS"])
def test_a_known_name_without_the_type_is_noerror_and_empty(tables, kind):
    message = ask(tables, "db.main", kind)
    assert message.rcode() == dns.rcode.NOERROR and not message.answer


def test_what_is_looked_for_below_a_network_of_the_sandbox_is_nobodys_business_sec_20(tables):
    """Absent, late and misspelt names, of every type and depth, also while nobody in the network has a name yet."""
    view = View(("n1", "n9"), True, UP, domains=frozenset({"front", "back.end"}))
    for name in ("absent.front", "Absent.FRONT", "a.b.front", "_80._tcp.absent.front", "x.back.end", "back.end"):
        for kind in ("A", "AAAA", "MX", "SRV"):
            assert ask(tables, name, kind, view=view).rcode() == dns.rcode.NXDOMAIN, (name, kind)
    for name in ("front.example", "afront.example", "x.end", "_80._tcp.example.org", "."):
        assert isinstance(ask(tables, name, view=view), Forward), name
    passing = View(("n1",), True, UP, pass_on=True, domains=frozenset({"front"}))
    assert isinstance(ask(tables, "absent.front", view=passing), Forward)


def test_a_service_whose_tasks_are_all_gone_is_asked_for_nowhere_else_sec_20():
    """Its tasks' name was known: it is no name of the outside because none of them is ready just now."""
    tables = Tables()
    view = View(("n1",), True, UP)
    assert isinstance(ask(tables, "tasks.web", view=view), Forward)
    for number in (2, 3):
        tables.register("n1", "front", f"e{number}", ("web", "Tasks.Web", "tasks.web"), f"10.0.0.{number}/24", "")
    assert len(texts(ask(tables, "tasks.web", view=view))) == 2
    for number in (2, 3):
        tables.unregister("n1", f"e{number}")
    for kind in ("A", "AAAA", "SRV"):
        assert ask(tables, "tasks.web", kind, view=view).rcode() == dns.rcode.NXDOMAIN
    assert ask(tables, "TASKS.web", view=view).rcode() == dns.rcode.NXDOMAIN
    assert ask(tables, "_80._tcp.tasks.web", "SRV", view=view).rcode() == dns.rcode.NXDOMAIN
    assert isinstance(ask(tables, "tasks.org", view=view), Forward)
    assert isinstance(ask(tables, "tasks.web", view=View(("n2",), True, UP)), Forward)


def test_only_so_many_names_of_services_are_remembered():
    tables = Tables()
    for number in range(4097):
        tables.register("n1", "front", "e", (f"tasks.s{number}",), "10.0.0.2", "")
    assert not tables.knew("n1", "tasks.s0")
    assert tables.knew("n1", "tasks.s1")


def negative(message):
    """The time to live of what says no."""
    (soa,) = message.authority
    assert soa.rdtype == dns.rdatatype.SOA and soa.name == dns.name.root
    assert soa.ttl == soa[0].minimum
    return soa.ttl


@pytest.mark.parametrize("options", [{}, {"use_edns": 0}, {"use_edns": 0, "want_dnssec": True}])
def test_no_is_kept_for_a_short_time(tables, options):
    """RFC 2308: a program that keeps answers asks again soon, whatever it thinks of answers without a time."""
    for name, kind in (("absent", "A"), ("web", "MX"), ("db.main", "AAAA"), ("2.0.0.10.in-addr.arpa", "A")):
        for tcp in (False, True):
            assert negative(ask(tables, name, kind, tcp=tcp, **options)) == 2
    assert not ask(tables, "web", **options).authority
    assert not ask(tables, "example.org", view=View(("n1",)), **options).authority


@pytest.fixture
def offering(tables):
    tables.register("n1", "front", "e1", ("Web", "all"), "10.0.0.2", "fd00::2", 2, ("80/tcp", "443/tcp", "80/udp"))
    tables.register("n1", "front", "e2", ("db.main", "all"), "10.0.0.3", "", 2, ("80/tcp",))
    return tables


def additional(message):
    return sorted(f"{rrset.name} {item}" for rrset in message.additional for item in rrset)


def test_ports_are_found_by_their_numbers(offering):
    for name in ("_80._tcp.web", "_80._TCP.Web.front", "_80._tcp.WEB"):
        message = ask(offering, name, "SRV")
        assert texts(message) == ["0 0 80 Web.front."] and message.answer[0].ttl == 2
        assert additional(message) == ["Web.front. 10.0.0.2", "Web.front. fd00::2"]
    assert texts(ask(offering, "_tcp.web", "SRV")) == ["0 0 443 Web.front.", "0 0 80 Web.front."]
    assert texts(ask(offering, "_80._udp.web", "SRV")) == ["0 0 80 Web.front."]
    assert texts(ask(offering, "_80._tcp.all", "SRV")) == ["0 0 80 Web.front.", "0 0 80 db.main.front."]
    assert texts(ask(offering, "_80._tcp.db.main.front", "ANY")) == ["0 0 80 db.main.front."]
    assert texts(ask(offering, "db.main.front")) == ["10.0.0.3"]  # a target is a name


def test_ports_that_nobody_offers_are_nowhere(offering):
    for name in ("_81._tcp.web", "_443._udp.web", "_http._tcp.web", "_080._tcp.web", "_81._tcp.db.main", "_sctp.web"):
        assert ask(offering, name, "SRV").rcode() == dns.rcode.NXDOMAIN, name
    for name in ("_80._tcp.absent", "_tcp.absent"):
        assert ask(offering, name, "SRV").rcode() == dns.rcode.NXDOMAIN, name
    assert isinstance(ask(offering, "_ldap._tcp.dc.example.org", "SRV"), Forward)
    assert texts(ask(offering, "_80._tcp.web", "A")) == []


def test_addresses_of_targets_are_left_out_where_they_do_not_fit_and_targets_are_not(tables):
    for number in range(20):
        tables.register("n1", "front", f"m{number}", (f"m{number}", "many"), f"10.0.1.{number}", "", 2, ("80/tcp",))
    short = ask(tables, "_80._tcp.many", "SRV")
    assert short.flags & dns.flags.TC
    mid = ask(tables, "_80._tcp.many", "SRV", use_edns=0, payload=900)
    assert not mid.flags & dns.flags.TC and len(texts(mid)) == 20 and 0 < len(additional(mid)) < 20
    whole = ask(tables, "_80._tcp.many", "SRV", tcp=True)
    assert len(texts(whole)) == 20 and len(additional(whole)) == 20


def test_reverse_names_of_both_families(tables):
    assert texts(ask(tables, "2.0.0.10.in-addr.arpa", "PTR")) == ["Web.front."]
    six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"
    assert texts(ask(tables, six, "PTR")) == ["Web.front."]
    assert texts(ask(tables, "3.0.1.10.in-addr.arpa", "PTR")) == ["db.back.end."]
    assert texts(ask(tables, "2.0.0.10.in-addr.arpa", "A")) == []


def test_unknown_reverse_names_are_forwarded_unless_internal(tables):
    assert isinstance(ask(tables, "9.9.9.9.in-addr.arpa", "PTR"), Forward)
    internal = View(("n1",), False, UP)
    assert ask(tables, "9.9.9.9.in-addr.arpa", "PTR", view=internal).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("ndots", [0, 1, 5])
@pytest.mark.parametrize("kind", ["A", "AAAA", "NS"])
def test_single_labels_are_never_forwarded(tables, ndots, kind):
    view = View(("n1",), True, UP, ("corp.example",), ndots)
    assert ask(tables, "absent", kind, view=view).rcode() == dns.rcode.NXDOMAIN


def test_a_search_domain_does_not_lead_a_local_name_outside(tables):
    tried_first = View(("n2",), True, UP, ("Corp.Example.",), 1)
    assert texts(ask(tables, "db.corp.example", view=tried_first)) == ["10.1.0.3"]
    assert isinstance(ask(tables, "www.corp.example", view=tried_first), Forward)
    tried_last = View(("n2",), True, UP, ("corp.example",), 0)
    assert isinstance(ask(tables, "db.corp.example", view=tried_last), Forward)


def test_internal_sandboxes_never_forward(tables):
    view = View(("n1",), False, UP)
    assert texts(ask(tables, "web", view=view)) == ["10.0.0.2"]
    for name, kind in (("example.org", "A"), ("example.org", "MX"), ("db.front.example", "AAAA")):
        assert ask(tables, name, kind, view=view).rcode() == dns.rcode.NXDOMAIN


def test_outside_names_are_forwarded_as_asked(tables):
    query = dns.message.make_query("Example.org", "A", use_edns=0).to_wire()
    outcome = resolve(tables, View(("n1",), True, UP), query, CHANCE)
    assert outcome.query == query and outcome.upstreams == UP and query[outcome.end - 4 : outcome.end] == b"\0\1\0\1"


def test_other_classes_are_asked_outside_but_not_for_what_is_ours(tables):
    def of_class(name):
        query = dns.message.make_query(name, "TXT", "CH", use_edns=False).to_wire()
        return resolve(tables, View(("n1",), True, UP), query, CHANCE)

    assert isinstance(of_class("version.bind"), Forward)
    for name, code in (("web.front", dns.rcode.NOERROR), ("absent", dns.rcode.NXDOMAIN)):
        message = dns.message.from_wire(b"\0\1" + of_class(name).bodies[0])
        assert message.rcode() == code and not message.answer


@pytest.mark.parametrize("name", ["db.invalid", "db.localhost"])
def test_what_is_nowhere_is_asked_nowhere(tables, name):
    assert ask(tables, name).rcode() == dns.rcode.NXDOMAIN


def test_without_servers_outside_names_fail(tables):
    assert ask(tables, "example.org", view=View(("n1",))).rcode() == dns.rcode.SERVFAIL


def test_links_are_names_of_one_sandbox(tables):
    assert texts(ask(tables, "backend", view=View(("n1",), links={"backend": "web"}))) == ["10.0.0.2"]
    assert ask(tables, "backend").rcode() == dns.rcode.NXDOMAIN


def crowd(count):
    tables = Tables()
    for number in range(count):
        tables.register("n", "net", f"e{number}", ("all",), f"10.0.{number >> 8}.{number & 255}", "")
    return tables


@pytest.mark.parametrize("count", [2, 5, 40])
def test_every_address_is_answered_and_each_comes_first_in_turn(count):
    query = dns.message.make_query("all", "A", use_edns=0, payload=4096).to_wire()
    outcome = resolve(crowd(count), View(("n",)), query, random.Random(7))
    firsts = []
    for body in outcome.bodies:
        message = dns.message.from_wire(query[:2] + body, one_rr_per_rrset=True)
        assert len({rrset[0].to_text() for rrset in message.answer}) == count
        firsts.append(message.answer[0][0].to_text())
    tally = [firsts.count(first) for first in set(firsts)]
    assert len(tally) == min(count, 16) and max(tally) == min(tally) and outcome.keep


def test_long_answers_are_cut_over_udp_and_whole_over_tcp():
    tables, view = crowd(60), View(("n",))
    plain = ask(tables, "all", view=view, use_edns=False)
    assert plain.flags & dns.flags.TC and 20 < len(plain.answer[0]) < 60
    assert not ask(tables, "all", view=view, use_edns=0, payload=1232).flags & dns.flags.TC
    whole = ask(tables, "all", view=view, tcp=True, use_edns=False)
    assert not whole.flags & dns.flags.TC and len(whole.answer[0]) == 60


def test_names_too_long_for_dns_do_not_break_reverse_answers():
    tables = Tables()
    tables.register("n", "net", "e", ("x" * 70,), "10.0.0.2", "")
    assert texts(ask(tables, "2.0.0.10.in-addr.arpa", "PTR", view=View(("n",)))) == []


def test_replies_get_silence(tables):
    assert isinstance(resolve(tables, View(), b"\0\1\x80\0" + bytes(8), CHANCE), Silence)


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_resolve_is_total(data, forward, tcp):
    tables = crowd(3)
    view = View(("n", "gone"), forward, UP, ("example.org",), 1)
    for query in (data, b"\0\1\1\0\0\1\0\0\0\0\0\0" + data, b"\0\1\1\0\0\1\0\0\0\0\0\1\3all\0\0\1\0\1" + data):
        outcome = resolve(tables, view, query, CHANCE, tcp=tcp)
        if isinstance(outcome, Answer):
            assert dns.message.from_wire(query[:2] + outcome.bodies[0]).flags & dns.flags.QR
        if not forward:
            assert not isinstance(outcome, Forward)
