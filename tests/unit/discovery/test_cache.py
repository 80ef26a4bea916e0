import dns.message
import dns.rcode
import pytest

from fairlead.discovery.cache import NOTHING, REPLIES_MAX, REPLY_AGE_MAX_S, Shelf, WireCache
from fairlead.discovery.names import Tables


def read(cache, key):
    return next(cache.entries.get(key, NOTHING), None)


def made(tables, shelf=None):
    cache = WireCache(tables, ("n",), shelf or Shelf(lambda: 0.0))
    cache.refresh()
    return cache


def test_a_single_answer_is_kept_for_ever():
    cache = made(Tables())
    cache.keep(b"k", (b"a",))
    assert [read(cache, b"k") for _ in range(100)] == [b"a"] * 100 and read(cache, b"other") is None


def test_several_answers_are_drawn_in_turn_after_the_first_and_run_out():
    cache = made(Tables())
    cache.keep(b"k", (b"a", b"b", b"c"))
    assert [read(cache, b"k") for _ in range(3)] == [b"b", b"c", None]


def test_a_change_in_the_network_drops_the_answers_and_another_network_does_not():
    tables = Tables()
    cache = made(tables)
    cache.keep(b"k", (b"a",))
    tables.register("other", "other", "e", ("x",), "", "")
    assert cache.epoch != tables.epoch
    cache.refresh()
    assert read(cache, b"k") == b"a"
    tables.register("n", "net", "e", ("x",), "", "")
    cache.refresh()
    assert read(cache, b"k") is None and cache.epoch == tables.epoch


def test_the_number_of_answers_is_bounded_for_one_and_for_all():
    tables, shelf = Tables(), Shelf(lambda: 0.0, entries_max=10, total_max=25)
    caches = [made(tables, shelf) for _ in range(4)]
    for number in range(1000):
        caches[number % 4].keep(b"%d" % number, (b"a",))
        assert all(len(cache.entries) <= 10 for cache in caches)
        assert shelf.total == sum(len(cache.entries) for cache in caches) <= 25


def test_closing_gives_the_room_back():
    shelf = Shelf(lambda: 0.0)
    cache = made(Tables(), shelf)
    cache.keep(b"k", (b"a",))
    cache.keep(b"k", (b"a",))
    assert shelf.total == 1
    cache.close()
    assert shelf.total == 0 and not shelf.caches


class Hour:
    """A clock by hand."""

    now = 0.0

    def __call__(self):
        return self.now


QUERY = dns.message.make_query("some.example.org", "A", use_edns=False, id=1)
END = len(QUERY.to_wire())
SOA = "ns.example.org. who.example.org. 1 2 3 4"


def reply(ttl=60, code=dns.rcode.NOERROR, sections="", edns=False):
    answer = dns.message.make_response(QUERY)
    answer.set_rcode(code)
    text = (
        sections
        or f";ANSWER\nsome.example.org. {ttl} IN A 192.0.2.1\n;AUTHORITY\nexample.org. 900 IN NS ns.example.org."
    )
    read = dns.message.from_text(f"id 1\n{text}")
    answer.answer, answer.authority, answer.additional = read.answer, read.authority, read.additional
    if edns:
        answer.use_edns(0)
    return answer.to_wire()


def outside(data, **options):
    tables, hour = Tables(), Hour()
    cache = WireCache(tables, ("n",), Shelf(hour, **options))
    cache.refresh()
    cache.keep_reply(b"k", data, END, tables.epoch)
    return tables, hour, cache


def drawn(cache, key=b"k"):
    body = read(cache, key)
    return body and dns.message.from_wire(b"\0\1" + body)


@pytest.mark.parametrize("edns", [False, True])
def test_a_reply_from_outside_is_kept_as_long_as_its_shortest_record_says(edns):
    _, hour, cache = outside(reply(60, edns=edns))
    assert drawn(cache).to_wire() == reply(60, edns=edns)
    hour.now = 59.9
    kept = drawn(cache)
    assert kept.answer[0].ttl == 1 and kept.authority[0].ttl == 841 and (kept.edns == 0) is edns
    hour.now = 60.0
    assert drawn(cache) is None


def test_nothing_is_kept_for_long_whatever_its_records_say():
    _, hour, cache = outside(reply(86400))
    hour.now = REPLY_AGE_MAX_S - 0.1
    assert drawn(cache) is not None
    hour.now = float(REPLY_AGE_MAX_S)
    assert drawn(cache) is None


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_that_a_name_is_not_there_is_kept_as_long_as_its_zone_says(code):
    _, hour, cache = outside(reply(code=code, sections=f";AUTHORITY\nexample.org. 900 IN SOA {SOA} 30"))
    hour.now = 29.0
    assert drawn(cache).rcode() == code
    hour.now = 30.0
    assert drawn(cache) is None


@pytest.mark.parametrize(
    "data",
    [
        reply(0),
        reply(1 << 31),
        reply(code=dns.rcode.SERVFAIL),
        reply(code=dns.rcode.REFUSED),
        reply(code=dns.rcode.NXDOMAIN),
        reply(sections=";AUTHORITY\nexample.org. 900 IN NS ns.example.org."),
        reply(sections=f";AUTHORITY\nexample.org. 900 IN SOA {SOA} 0"),
        reply()[:2] + bytes([reply()[2] | 2]) + reply()[3:],
        reply()[:-1],
        reply() + b"x",
        reply(sections=";ANSWER\nsome.example.org. 60 IN TXT " + " ".join(['"' + "x" * 250 + '"'] * 3)),
    ],
    ids=["no time", "sign", "servfail", "refused", "no soa", "referral", "soa of zero", "cut", "short", "long", "big"],
)  # fmt: skip
def test_what_may_not_be_kept_is_not(data):
    _, _, cache = outside(data)
    assert drawn(cache) is None and not cache.entries


def test_a_reply_to_a_question_of_before_a_change_of_names_is_not_kept():
    tables, _, cache = outside(reply())
    before = tables.epoch
    tables.register("elsewhere", "elsewhere", "e", ("x",), "", "")
    cache.refresh()
    assert drawn(cache) is not None
    cache.keep_reply(b"late", reply(), END, before)
    assert drawn(cache, b"late") is None
    tables.register("n", "net", "e", ("x",), "", "")
    cache.refresh()
    assert drawn(cache) is None


def test_a_closed_cache_keeps_nothing():
    tables, _, cache = outside(reply())
    cache.close()
    cache.keep_reply(b"k", reply(), END, tables.epoch)
    assert drawn(cache) is None and not cache.entries


def test_replies_are_bounded_and_the_oldest_make_room():
    tables, _, cache = outside(reply())
    for number in range(REPLIES_MAX):
        cache.keep_reply(b"%d" % number, reply(), END, tables.epoch)
    assert len(cache.entries) == REPLIES_MAX and drawn(cache) is None
    assert drawn(cache, b"%d" % (REPLIES_MAX - 1)) is not None


def test_whoever_holds_most_makes_room_for_the_others():
    tables, shelf = Tables(), Shelf(lambda: 0.0, entries_max=20, total_max=22)
    small, greedy = made(tables, shelf), made(tables, shelf)
    small.keep(b"mine", (b"a",))
    for number in range(1000):
        greedy.keep(b"%d" % number, (b"a",))
    assert read(small, b"mine") == b"a"
