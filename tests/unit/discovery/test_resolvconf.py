import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery.resolvconf import (
    ResolvConf,
    behind_stub,
    check_options,
    check_search,
    compose_internal,
    compose_plain,
    ndots,
    parse,
)
from fairlead.discovery.resolver import Upstream
from fairlead.model.errors import Invalid

HOST = ResolvConf(("127.0.0.53", "192.0.2.1", "2001:db8::1"), ("corp.example",), ("edns0", "trust-ad"))


def test_a_file_is_read_as_the_c_library_reads_it():
    text = "# c\n; d\nnameserver 192.0.2.1\nnameserver bad\nnameserver fe80::1%eth0\ndomain a\nsearch b c\nsearch\n"
    text += "options ndots:2 rotate\noptions edns0\nsortlist x\n"
    assert parse(text) == ResolvConf(("192.0.2.1", "fe80::1%eth0"), ("b", "c"), ("ndots:2", "rotate", "edns0"))


@given(st.text())
def test_any_text_is_read(text):
    parse(text)


def test_the_last_good_ndots_counts():
    assert ndots(("ndots:1", "ndots:x", "ndots:3", "ndots:")) == 3
    assert ndots(("ndots:99",)) == 15 and ndots(("rotate",)) is None


def body(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_internal_form_names_our_resolver_and_keeps_the_options():
    made = compose_internal(HOST)
    assert body(made.text) == ["nameserver 127.0.0.11", "options edns0 trust-ad ndots:0"]
    assert made.upstreams == tuple(Upstream(server, True) for server in HOST.servers)
    assert "# ExtServers: [host(127.0.0.53) host(192.0.2.1) host(2001:db8::1)]\n" in made.text
    assert "# Option ndots from: internal\n" in made.text and "# Overrides: []\n" in made.text


def test_the_users_values_replace_the_hosts():
    made = compose_internal(HOST, dns=("10.0.0.53", "127.0.0.11"), search=("x", "y"), options=("ndots:2",))
    assert body(made.text) == ["nameserver 127.0.0.11", "search x y", "options ndots:2"]
    assert made.upstreams == (Upstream("10.0.0.53", False),) and made.ndots == 2
    assert "# ExtServers: [10.0.0.53]\n" in made.text and "from: override" in made.text
    assert "# Overrides: [nameservers search options]\n" in made.text


def test_sec_20_the_hosts_search_list_is_not_handed_on_where_names_are_served():
    made = compose_internal(HOST)
    assert (made.search, made.ndots) == ((), 0) and "# Left out: [search corp.example]" in made.text
    asked = compose_internal(HOST, search=("corp.example",))
    assert asked.search == ("corp.example",) and "Left out" not in asked.text


def test_sec_20_the_domain_of_a_host_name_is_no_search_list_either():
    assert "search invalid" in body(compose_internal(HOST, hostname="db.corp.example").text)
    assert "search invalid" in body(compose_internal(HOST, hostname="db.corp.example", search=(".",)).text)
    assert "search x" in body(compose_internal(HOST, hostname="db.corp.example", search=("x",)).text)
    assert not [line for line in body(compose_internal(HOST, hostname="db").text) if "search" in line]


def test_a_host_ndots_is_kept_and_a_dot_clears_the_search_list():
    made = compose_internal(ResolvConf((), ("a",), ("ndots:3",)), search=(".",))
    assert body(made.text) == ["nameserver 127.0.0.11", "options ndots:3"] and made.search == ()
    assert "from: host" in made.text and "NO EXTERNAL NAMESERVERS" in made.text


def test_the_plain_form_leaves_out_what_cannot_be_reached():
    assert body(compose_plain(HOST).text)[0:2] == ["nameserver 192.0.2.1", "search corp.example"]
    made = compose_plain(HOST, v6=True)
    assert body(made.text)[:2] == ["nameserver 192.0.2.1", "nameserver 2001:db8::1"]
    assert made.upstreams == () and made.ndots == 1


def test_the_plain_form_never_falls_back_to_strangers():
    made = compose_plain(ResolvConf(("127.0.0.53", "::1")))
    assert body(made.text) == [] and "name one with --dns" in made.text


def test_user_servers_are_not_sieved():
    assert body(compose_plain(HOST, dns=("127.0.0.1", "::1")).text)[:2] == ["nameserver 127.0.0.1", "nameserver ::1"]


@pytest.mark.parametrize("compose", [compose_internal, compose_plain])
def test_a_server_must_be_an_address(compose):
    with pytest.raises(Invalid):
        compose(HOST, dns=("dns.example",))


def test_what_users_say_is_checked():
    check_search((".", "a.example", "a.example."))
    check_options(("ndots:2", "timeout:1", "attempts:3", "rotate", "edns0", "use-vc", "trust-ad"))
    for bad in ("a b", "", "a\nb", "-a"):
        with pytest.raises(Invalid):
            check_search((bad,))
    for bad in ("ndots 2", "", "rotate\nsearch x", "ndots:x"):
        with pytest.raises(Invalid):
            check_options((bad,))


def test_the_stub_of_systemd_resolved_is_known():
    assert behind_stub(ResolvConf(("127.0.0.53",))) and not behind_stub(ResolvConf()) and not behind_stub(HOST)


@given(st.lists(st.ip_addresses().map(str), max_size=4), st.lists(st.sampled_from(("a", "b.c")), max_size=3))
def test_what_is_written_is_read_back(servers, search):
    written = compose_plain(ResolvConf(tuple(servers), tuple(search)), dns=tuple(servers), v6=True).text
    assert parse(written) == ResolvConf(tuple(servers), tuple(search))
