"""Encryption between nodes: IPsec states and policies, made, found again and compared.

Ours are known by ``REQID`` (states) and ``MARK`` (policies); nobody else's are touched. Messages are packed here: pyroute2 has
none of them. <linux/xfrm.h> says what they look like.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from fairlead.kernel import messages as m
from fairlead.kernel.errno import Refused, from_os, refused
from fairlead.kernel.netlink import Fault, Netlink
from fairlead.plan.diff import Change, Delete, Step
from fairlead.plan.objects import Key, Object
from fairlead.plan.xfrm import MARK, REQID, ExactXfrm, Xfrm, XfrmPolicy, XfrmState

#: The netlink protocol, <linux/netlink.h>.
NETLINK_XFRM = 6
#: Message types, <linux/xfrm.h>.
_NEW_STATE, _DELETE_STATE, _GET_STATE = 0x10, 0x11, 0x12
_DELETE_POLICY, _GET_POLICY, _UPDATE_POLICY = 0x14, 0x15, 0x19
#: Attributes, <linux/xfrm.h>.
_TEMPLATE, _AEAD, _MARK, _REPLAY = 5, 18, 21, 23
#: struct xfrm_selector: addresses, ports with masks, family, prefix lengths, protocol, device, user.
_SELECTOR = struct.Struct("=16s16s4sH2xHBBB3xiI")
#: struct xfrm_id: address, SPI in network order, protocol.
_ID = struct.Struct("=16s4sB3x")
#: struct xfrm_usersa_info between its selector and its end: id, source, limits of life (8), life so far (4), statistics (3),
#: sequence number, request id, family, mode, replay window, flags.
_STATE = struct.Struct("=16s4sB3x16s8Q4Q3IIIHBBB7x")
#: struct xfrm_usersa_id, xfrm_userpolicy_id (after its selector).
_STATE_ID, _POLICY_ID = struct.Struct("=16s4sHB1x"), struct.Struct("=IB3x")
#: struct xfrm_userpolicy_info after its selector: limits of life (8), life so far (4), priority, index, direction, action,
#: flags, share.
_POLICY = struct.Struct("=8Q4QIIBBBB4x")
#: struct xfrm_user_tmpl after its id: family, source, request id, mode, share, optional, algorithms (3).
_TMPL = struct.Struct("=H2x16sIBBBx3I")
#: struct xfrm_algo_aead: name, bits of the key with its salt, bits of the check value.
_ALGORITHM = struct.Struct("=64sII")
#: struct xfrm_replay_state_esn: words of the bitmap, then numbers sent and seen (low, low, high, high), the window.
_WINDOW = struct.Struct("=6I")
_SIZES = {
    56: _SELECTOR.size,
    224: _SELECTOR.size + _STATE.size,
    168: _SELECTOR.size + _POLICY.size,
    64: 24 + _TMPL.size,
}
assert all(wanted == size for wanted, size in _SIZES.items()), _SIZES

_ESP, _UDP, _OUT, _ALLOW, _BLOCK, _TRANSPORT = 50, 17, 1, 0, 1, 0
_FLAG_ESN = 0x80
_NEVER = (1 << 64) - 1
_CIPHER = b"rfc4106(gcm(aes))"
#: Bits of the check value: all of AES-GCM's (RFC 4106 section 6).
_CHECK_BITS = 128
#: Packets that may come late: with several queues and processors some hundred do (RFC 4303 section 3.4.3 asks for 64 or more).
WINDOW_PACKETS = 1024
#: Policies that encrypt come before those that drop; smaller is sooner.
_PRIORITY = {_ALLOW: 100, _BLOCK: 200}
#: Where attributes begin: after struct nlmsghdr (16) and the message's own struct.
_HEAD = 16
_STATE_BODY, _POLICY_BODY = _HEAD + 224, _HEAD + 168
#: What a kernel says that has no such messages at all.
_NO_XFRM = frozenset({errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT})
#: What it says that has them, and neither ESP nor the cipher.
_LACKING = frozenset({errno.EPROTONOSUPPORT, errno.ENOSYS, errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT})
#: An address pair that nobody has (RFC 5737, RFC 3849), to try with.
_PROBES = {False: ("192.0.2.1", "192.0.2.2"), True: ("2001:db8::1", "2001:db8::2")}
_PROBE_SPI = 0x0FA17ED0


def fault(*, v6: bool) -> str:
    """Why this kernel cannot encrypt between nodes with addresses of this family, in words; empty if it can. A state is made
    for addresses that nobody has, and deleted, which also loads what the kernel has as modules."""
    source, target = _PROBES[v6]
    probe = XfrmState(source, target, _PROBE_SPI, os.urandom(20).hex())
    try:
        with Netlink(NETLINK_XFRM) as netlink:
            netlink.request([_delete_state(probe)])  # one that a crash left
            (answer,) = netlink.request([_new_state(probe)])
            netlink.request([_delete_state(probe)])
    except OSError as error:
        return f"its kernel has no IPsec ({os.strerror(error.errno or 0).lower()})"
    if answer is None:
        return ""
    reason = os.strerror(answer.code).lower()
    if answer.code in _LACKING:
        module = "esp6" if v6 else "esp4"
        return f"its kernel has no ESP or no AES-GCM for it, modules {module}, gcm and seqiv ({reason})"
    return f"its kernel refuses IPsec ({reason})"


def standing() -> list[Xfrm]:
    """Our states and policies; none on a kernel without. Which states send is not known to the kernel: none is told to.
    Raises ``OSError``."""
    try:
        with Netlink(NETLINK_XFRM) as netlink:
            return [*_states(netlink), *_policies(netlink)]
    except OSError as error:
        if error.errno in _NO_XFRM:
            return []
        raise


def put(steps: Sequence[Step]) -> tuple[list[Step], list[Refused]]:
    """Make and change what steps say: states, then the policies that use them. The steps that were carried out, and what
    was refused."""
    wanted = [(step, _aim(step)) for step in steps if not isinstance(step, Delete)]
    states = [(step, item) for step, item in wanted if isinstance(item, XfrmState)]
    policies = [(step, item) for step, item in wanted if isinstance(item, XfrmPolicy)]
    done: list[Step] = []
    if not states and not policies:
        return [], []
    try:
        with Netlink(NETLINK_XFRM) as netlink:
            failures = _put_states(netlink, states, done)
            if not failures:
                answers = netlink.request([_update_policy(item) for _, item in policies])
                failures = _told(policies, answers, done)
    except OSError as error:
        failures = [from_os(error, "encrypt between nodes")]
    return done, failures


def drop(steps: Sequence[Step]) -> list[Refused]:
    """Take away what steps say, policies before the states that they use; what is gone already is nothing."""
    gone = [step.object for step in steps if isinstance(step, Delete) and isinstance(step.object, Xfrm)]
    fresh = {_aim(step).key for step in steps if not isinstance(step, Delete)}
    gone = [item for item in gone if item.key not in fresh]
    if not gone:
        return []
    try:
        with Netlink(NETLINK_XFRM) as netlink:
            return _drop(netlink, gone)
    except OSError as error:
        return [] if error.errno in _NO_XFRM else [from_os(error, "end encryption between nodes")]


def sweep(wanted: Container[Key]) -> list[str]:
    """Take away what is ours and not ``wanted``; what was, in words. Raises ``OSError``."""
    old = [item for item in standing() if item.key not in wanted]
    if old:
        with Netlink(NETLINK_XFRM) as netlink:
            _drop(netlink, old)
    return [f"removed {' '.join(item.key)}" for item in old]


def doubtful(item: Object, desired: Mapping[Key, Object]) -> bool:
    """Whether it stands from before and whom it serves is still to be told."""
    return isinstance(item, Xfrm) and item.key not in desired and ExactXfrm().key not in desired


def lost(item: Object, actual: Mapping[Key, Object]) -> bool:
    """Whether it is a state that sends and has gone. Made again, its numbers would begin anew under the same key, and the
    other side, which has seen them, would drop what comes: new keys are to be agreed upon instead."""
    return isinstance(item, XfrmState) and item.outbound and item.key not in actual


def _put_states(netlink: Netlink, wanted: Sequence[tuple[Step, XfrmState]], done: list[Step]) -> list[Refused]:
    answers = netlink.request([_new_state(item) for _, item in wanted])
    clashes = [place for place, answer in enumerate(answers) if answer is not None and answer.code == errno.EEXIST]
    if clashes:
        # what stood before this daemon began goes on as it is, for its numbers count; anything else of ours makes room
        known = {item.key: item for item in _states(netlink)}
        for place in clashes:
            item = wanted[place][1]
            present = known.get(item.key)
            if present == item:
                answers[place] = None
            elif present is not None:
                netlink.request([_delete_state(present)])
                (answers[place],) = netlink.request([_new_state(item)])
    return _told(wanted, answers, done)


def _told(wanted: Sequence[tuple[Step, Xfrm]], answers: Sequence[Fault | None], done: list[Step]) -> list[Refused]:
    failures = []
    for (step, item), answer in zip(wanted, answers, strict=True):
        if answer is None:
            done.append(step)
        else:
            failures.append(refused(f"encrypt {item.source} -> {item.target}", answer.code, answer.text, item))
    return failures


def _drop(netlink: Netlink, gone: Iterable[Xfrm]) -> list[Refused]:
    items = sorted(gone, key=lambda item: isinstance(item, XfrmState))
    answers = netlink.request(
        [_delete_state(item) if isinstance(item, XfrmState) else _delete_policy(item) for item in items]
    )
    return [
        refused(f"end encryption {item.source} -> {item.target}", answer.code, answer.text, item)
        for item, answer in zip(items, answers, strict=True)
        if answer is not None and answer.code not in (errno.ESRCH, errno.ENOENT)
    ]


def _aim(step: Step) -> Object:
    return step.after if isinstance(step, Change) else step.object


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed.ljust(16, b"\0")


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _message(kind: int, flags: int, body: bytes) -> bytearray:
    size = m.HEADER.size + len(body)
    return bytearray(m.HEADER.pack(size, kind, flags | m.NLM_F_REQUEST, 0, 0) + body)


def _new_state(item: XfrmState) -> bytearray:
    family, key = _family(item.target), bytes.fromhex(item.secret)
    body = _SELECTOR.pack(b"", b"", b"", 0, family, 0, 0, 0, 0, 0)
    body += _STATE.pack(
        _packed(item.target), item.spi.to_bytes(4, "big"), _ESP, _packed(item.source),
        _NEVER, _NEVER, _NEVER, _NEVER, 0, 0, 0, 0,  # soft and hard limits of bytes and packets, and of time
        0, 0, 0, 0, 0, 0, 0, 0, REQID, family, _TRANSPORT, 0, _FLAG_ESN,
    )  # fmt: skip
    body += m.raw_attribute(_AEAD, _ALGORITHM.pack(_CIPHER, len(key) * 8, _CHECK_BITS) + key)
    words = WINDOW_PACKETS // 32
    body += m.raw_attribute(_REPLAY, _WINDOW.pack(words, 0, 0, 0, 0, WINDOW_PACKETS) + bytes(4 * words))
    return _message(_NEW_STATE, m.NLM_F_CREATE | m.NLM_F_EXCL, body)


def _delete_state(item: XfrmState) -> bytearray:
    body = _STATE_ID.pack(_packed(item.target), item.spi.to_bytes(4, "big"), _family(item.target), _ESP)
    return _message(_DELETE_STATE, 0, body)


def _selector(item: XfrmPolicy) -> bytes:
    source, target = ipaddress.ip_network(item.source), ipaddress.ip_network(item.target)
    return _SELECTOR.pack(
        target.network_address.packed.ljust(16, b"\0"), source.network_address.packed.ljust(16, b"\0"),
        item.port.to_bytes(2, "big") + b"\xff\xff", 0,
        socket.AF_INET6 if target.version == 6 else socket.AF_INET,
        target.prefixlen, source.prefixlen, _UDP, 0, 0,
    )  # fmt: skip


def _mark() -> bytes:
    return m.raw_attribute(_MARK, struct.pack("=II", MARK, 0xFFFFFFFF))


def _update_policy(item: XfrmPolicy) -> bytearray:
    action = _ALLOW if item.spi else _BLOCK
    body = _selector(item)
    body += _POLICY.pack(
        _NEVER, _NEVER, _NEVER, _NEVER, 0, 0, 0, 0, 0, 0, 0, 0, _PRIORITY[action], 0, _OUT, action, 0, 0
    )
    if item.spi:
        source, target = item.source.partition("/")[0], item.target.partition("/")[0]
        template = _ID.pack(_packed(target), item.spi.to_bytes(4, "big"), _ESP)
        every = 0xFFFFFFFF
        template += _TMPL.pack(_family(target), _packed(source), REQID, _TRANSPORT, 0, 0, every, every, every)
        body += m.raw_attribute(_TEMPLATE, template)
    return _message(_UPDATE_POLICY, 0, body + _mark())


def _delete_policy(item: XfrmPolicy) -> bytearray:
    return _message(_DELETE_POLICY, 0, _selector(item) + _POLICY_ID.pack(0, _OUT) + _mark())


def _states(netlink: Netlink) -> Iterator[XfrmState]:
    for data in netlink.dump(bytes(_message(_GET_STATE, m.NLM_F_DUMP, b""))):
        fields = _STATE.unpack_from(data, _HEAD + _SELECTOR.size)
        target, spi, protocol, source = fields[:4]
        reqid, family = fields[-5], fields[-4]
        cipher = m.raw_attributes(data, _STATE_BODY).get(_AEAD, b"")
        if reqid != REQID or protocol != _ESP or not cipher:  # without a cipher it stands for one that is asked for
            continue
        yield XfrmState(
            _address(source, family), _address(target, family), int.from_bytes(spi, "big"),
            cipher[_ALGORITHM.size :].hex(),
        )  # fmt: skip


def _policies(netlink: Netlink) -> Iterator[XfrmPolicy]:
    for data in netlink.dump(bytes(_message(_GET_POLICY, m.NLM_F_DUMP, b""))):
        parts = m.raw_attributes(data, _POLICY_BODY)
        if parts.get(_MARK, b"")[:4] != MARK.to_bytes(4, "little"):
            continue
        target, source, ports, _, family, length, source_length, *_ = _SELECTOR.unpack_from(data, _HEAD)
        action = _POLICY.unpack_from(data, _HEAD + _SELECTOR.size)[-3]
        spi = parts.get(_TEMPLATE, b"")[16:20] if action == _ALLOW else b""
        yield XfrmPolicy(
            f"{_address(source, family)}/{source_length}", f"{_address(target, family)}/{length}",
            int.from_bytes(ports[:2], "big"), int.from_bytes(spi, "big"),
        )  # fmt: skip


def _address(packed: bytes, family: int) -> str:
    return str(ipaddress.ip_address(packed[: 16 if family == socket.AF_INET6 else 4]))
