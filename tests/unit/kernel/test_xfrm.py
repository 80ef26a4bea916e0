"""What the kernel is told of encryption, and what is left alone."""

from __future__ import annotations

import pytest

from fairlead.kernel import xfrm
from fairlead.plan.objects import Table
from fairlead.plan.xfrm import ExactXfrm, XfrmPolicy, XfrmState

STATE = XfrmState("192.0.2.1", "192.0.2.2", 0x12345678, "5a" * 20, outbound=True)
POLICY = XfrmPolicy("192.0.2.1/32", "192.0.2.2/32", 4789, STATE.spi)


def test_a_state_is_what_iproute2_would_send() -> None:
    """The bytes of `ip xfrm state add ... proto esp spi ... reqid ... mode transport replay-window 1024 flag esn aead ...`
    by <linux/xfrm.h>: selector, id, source, limits, counters, numbers; then the cipher and the window."""
    message = bytes(xfrm._new_state(STATE))
    assert len(message) == 16 + 224 + (4 + 72 + 20) + (4 + 24 + 128)
    assert message[4:6] == b"\x10\x00"
    body = message[16:]
    assert body[56:60] == bytes((192, 0, 2, 2)) and body[72:76] == bytes.fromhex("12345678") and body[76] == 50
    assert body[80:84] == bytes((192, 0, 2, 1))
    assert int.from_bytes(body[208:212], "little") == 0xFA171EAD
    assert (body[214], body[216]) == (0, 0x80)
    assert b"rfc4106(gcm(aes))\0" in body and body[224 + 4 + 72 :].startswith(bytes.fromhex("5a" * 20))


@pytest.mark.parametrize("given", [POLICY, XfrmPolicy("::/0", "::/0", 4790)])
def test_a_policy_has_its_template_only_if_it_encrypts(given: XfrmPolicy) -> None:
    message = bytes(xfrm._update_policy(given))
    template = 4 + 64 if given.spi else 0
    assert len(message) == 16 + 168 + template + 4 + 8
    assert message[16 + 161] == (0 if given.spi else 1)


def test_what_stands_from_before_is_doubtful_until_all_is_known() -> None:
    everything = {ExactXfrm().key: ExactXfrm()}
    assert xfrm.doubtful(STATE, {})
    assert not xfrm.doubtful(STATE, {STATE.key: STATE})
    assert not xfrm.doubtful(STATE, everything)
    assert not xfrm.doubtful(Table("", "ip", "fairlead"), {})


def test_only_what_was_sent_with_is_lost_for_good() -> None:
    assert xfrm.lost(STATE, {})
    assert not xfrm.lost(STATE, {STATE.key: STATE})
    assert not xfrm.lost(XfrmState("192.0.2.2", "192.0.2.1", 300, "00" * 20), {})
    assert not xfrm.lost(POLICY, {})
