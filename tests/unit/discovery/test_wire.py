import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery import wire


def query(name="web", kind="A", **options):
    return dns.message.make_query(name, kind, **options).to_wire()


LABELS = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=20), min_size=1, max_size=8)


@given(LABELS, st.sampled_from(("A", "AAAA", "PTR", "TXT", "HTTPS")), st.booleans())
def test_a_query_of_dnspython_is_read_as_it_was_meant(labels, kind, edns):
    data = query(".".join(labels), kind, use_edns=0 if edns else False, payload=1232)
    question = wire.scan(data)
    assert question.name == ".".join(labels).lower() and question.labels == len(labels)
    assert question.type == dns.rdatatype.from_text(kind) and question.edns == edns
    assert question.size == (1232 if edns else 512)


@given(LABELS, st.lists(st.binary(min_size=4, max_size=4), max_size=40), st.booleans(), st.integers(512, 4096))
def test_answers_are_what_dnspython_reads(labels, addresses, edns, limit):
    data = query(".".join(labels), use_edns=0 if edns else False, want_dnssec=edns)
    question = wire.scan(data)
    records = [wire.record(wire.A, address) for address in addresses]
    answer = data[:2] + wire.body(data, question, 0, records, limit)
    message = dns.message.from_wire(answer, one_rr_per_rrset=True)
    sent, read = dns.message.from_wire(data), [rrset[0].to_wire() for rrset in message.answer]
    assert message.id == sent.id and message.question == sent.question and len(answer) <= limit
    assert read == addresses[: len(read)] and all(rrset.ttl == 600 for rrset in message.answer)
    assert bool(message.flags & dns.flags.TC) == (len(read) < len(addresses))
    assert message.flags & dns.flags.QR and message.flags & dns.flags.RA and message.flags & dns.flags.RD
    assert message.edns == (0 if edns else -1) and bool(message.ednsflags & dns.flags.DO) == edns


@given(st.binary(max_size=600))
def test_arbitrary_octets_are_read_without_an_exception(data):
    found = wire.scan(data)
    assert isinstance(found, wire.Question | wire.BadQuery)


@given(st.binary(max_size=80))
def test_arbitrary_octets_after_a_plausible_header_are_read_without_an_exception(data):
    for counts in (b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1"):
        wire.scan(b"\x12\x34\1\0" + counts + data)
        wire.scan(query()[:10] + counts[6:] + query()[12:] + data)


def test_what_is_no_query_gets_silence_and_other_faults_their_code():
    good = query(use_edns=False)
    assert wire.scan(b"short") == wire.BadQuery(None)
    assert wire.scan(good[:2] + b"\x81" + good[3:]) == wire.BadQuery(None)
    assert wire.scan(good[:2] + b"\x28" + good[3:]) == wire.BadQuery(wire.NOTIMP)
    assert wire.scan(good[:4] + b"\0\2" + good[6:]) == wire.BadQuery(wire.FORMERR)
    assert wire.scan(good[:6] + b"\0\1" + good[8:]) == wire.BadQuery(wire.FORMERR)
    assert wire.scan(good[:-1]) == wire.BadQuery(wire.FORMERR)
    assert wire.scan(good + b"\0") == wire.BadQuery(wire.FORMERR)
    assert wire.scan(query(kind="AXFR", use_edns=False)) == wire.BadQuery(wire.REFUSED)
    assert wire.scan(good[:12] + b"\xc0\x0c" + good[-4:]) == wire.BadQuery(wire.FORMERR)


def test_a_question_of_another_class_has_no_type_of_ours():
    good = query(use_edns=False)
    assert wire.scan(good[:-2] + b"\0\3").type == wire.OTHER_CLASS
    assert wire.scan(good[:-2] + b"\0\xff").type == wire.A == wire.scan(good).type


def test_a_name_over_255_octets_is_malformed():
    label = b"\x3f" + b"a" * 63
    head, tail = query(use_edns=False)[:12], b"\0\0\1\0\1"
    assert isinstance(wire.scan(head + label * 3 + tail), wire.Question)
    assert wire.scan(head + label * 4 + tail) == wire.BadQuery(wire.FORMERR)


def test_a_dot_inside_a_label_is_not_a_border():
    data = query(use_edns=False)[:12] + b"\3a.b\0\0\1\0\1"
    assert wire.scan(data).name == r"a\.b" and wire.scan(data).labels == 1


def test_an_unknown_edns_version_is_answered_badvers():
    data = query(use_edns=1)
    assert wire.scan(data) == wire.BadQuery(wire.BADVERS)
    assert dns.message.from_wire(wire.refusal(data, wire.BADVERS)).rcode() == dns.rcode.BADVERS


def test_sizes_of_edns_clients_are_kept_between_512_and_4096():
    assert wire.scan(query(use_edns=0, payload=100)).size == 512
    assert wire.scan(query(use_edns=0, payload=65000)).size == 4096


def test_refusals_and_failures_repeat_id_and_opcode():
    data = dns.message.make_query("web", "A", id=77)
    data.set_opcode(dns.opcode.STATUS)
    message = dns.message.from_wire(wire.refusal(data.to_wire(), wire.NOTIMP))
    assert (message.id, message.opcode(), message.rcode()) == (77, dns.opcode.STATUS, dns.rcode.NOTIMP)
    plain = query(use_edns=False)
    failed = dns.message.from_wire(wire.failure(plain, len(plain), wire.SERVFAIL))
    assert failed.rcode() == dns.rcode.SERVFAIL and failed.question == dns.message.from_wire(plain).question


def test_names_that_do_not_fit_into_dns_have_no_data():
    assert wire.name_data("web.net.") == b"\3web\3net\0"
    assert wire.name_data("a" * 64 + ".net.") is None
    assert wire.name_data("a..b.") is None


@given(st.binary(max_size=200), st.integers(12, 100))
def test_the_life_of_any_octets_is_read(data, end):
    for reply in (bytes(12) + data, b"\0\1\x80\0\0\1\0\1\0\1\0\1" + data):
        found = wire.life(reply, end)
        if found is not None:
            assert len(wire.aged(reply[2:], found, found.seconds)) == len(reply) - 2
