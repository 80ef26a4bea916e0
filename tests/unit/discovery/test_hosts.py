import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery import hosts
from fairlead.discovery.hosts import HostLine
from fairlead.model.errors import Invalid

LINES = (hosts.endpoint_line("10.0.0.2", "web", "example.org"), hosts.endpoint_line("fd00::2", "web"))


def test_the_file_has_base_extra_and_endpoint_lines_in_this_order():
    text = hosts.compose(LINES, hosts.extra_lines(("db:10.0.0.9",)))
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
        "10.0.0.9\tdb",
        "10.0.0.2\tweb.example.org web",
        "fd00::2\tweb",
    ]


def test_without_ipv6_there_are_no_ipv6_lines():
    assert hosts.compose(LINES, v6=False) == "127.0.0.1\tlocalhost\n10.0.0.2\tweb.example.org web\n"


def test_extra_hosts_in_both_spellings_and_the_hosts_own_address():
    lines = hosts.extra_lines(
        ("a:10.0.0.1", "b=fd00::1", "c:[fd00::2]", "d:fd00::3", "e:host-gateway"), ("172.17.0.1",)
    )
    assert [line.text for line in lines] == [
        "10.0.0.1\ta\n", "fd00::1\tb\n", "fd00::2\tc\n", "fd00::3\td\n", "172.17.0.1\te\n",
    ]  # fmt: skip


@pytest.mark.parametrize("entry", ["a", ":10.0.0.1", "a:", "a:b", "a b:10.0.0.1", "a=10.0.0.256", "e:host-gateway"])
def test_bad_extra_hosts_are_refused(entry):
    with pytest.raises(Invalid):
        hosts.extra_lines((entry,))


def test_links_leave_out_a_name_that_equals_the_alias():
    assert hosts.link_line("10.0.0.2", "db", "h", "pg").text == "10.0.0.2\tdb h pg\n"
    assert hosts.link_line("10.0.0.2", "db", "h", "db").text == "10.0.0.2\tdb h\n"


def test_only_exactly_equal_lines_are_removed():
    text = hosts.add("mine 1\n10.0.0.2 web.example.org web\n", LINES)
    assert hosts.remove(text, LINES) == "mine 1\n10.0.0.2 web.example.org web\n"


def test_a_missing_line_end_is_mended():
    assert hosts.add("mine", (HostLine("10.0.0.2", ("a",)),)) == "mine\n10.0.0.2\ta\n"


@given(st.text())
def test_adding_and_removing_gives_the_old_text_back(text):
    ended = text if not text or text.endswith("\n") else text + "\n"
    assert hosts.remove(hosts.add(text, LINES), LINES) == hosts.remove(ended, LINES)
