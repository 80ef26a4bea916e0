"""Virtual services of the kernel's balancer (IPVS), by generic netlink: made, changed, faded out, compared.

Messages are packed here; <linux/ip_vs.h> says what they look like. A destination that is none any more is not deleted at once:
the kernel would drop what its connections send. It gets weight 0, and goes when no connection is left (``Fading``).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress

from fairlead.kernel import messages as m
from fairlead.kernel import netns
from fairlead.kernel.errno import Refused, from_os, refused
from fairlead.kernel.netlink import Netlink
from fairlead.plan.diff import Change, Create, Delete, Step
from fairlead.plan.ipvs import VirtualService
from fairlead.plan.objects import Object

#: Generic netlink: the protocol, its controller, the command and attributes by which a family is found, <linux/genetlink.h>.
_GENERIC, _CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 16, 3, 1, 2
#: struct genlmsghdr: command, version; attributes begin after it and struct nlmsghdr.
_HEAD = struct.Struct("=BBH")
_BODY = m.HEADER.size + _HEAD.size
#: Commands and attributes of the family, <linux/ip_vs.h>.
_NAME, _VERSION = b"IPVS", 1
_NEW_SERVICE, _SET_SERVICE, _DELETE_SERVICE, _GET_SERVICE = 1, 2, 3, 4
_NEW_DESTINATION, _SET_DESTINATION, _DELETE_DESTINATION, _GET_DESTINATION = 5, 6, 7, 8
_SERVICE, _DESTINATION = 1, 2
_AF, _MARK, _SCHEDULER, _FLAGS, _TIMEOUT, _NETMASK = 1, 5, 6, 7, 8, 9
_ADDRESS, _PORT, _METHOD, _WEIGHT, _UPPER, _LOWER, _ACTIVE, _ADDRESS_FAMILY = 1, 2, 3, 4, 5, 6, 7, 11
#: Translated here, and back when the answer comes (IP_VS_CONN_F_MASQ).
_TRANSLATED = 0
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")
#: Bytes of union nf_inet_addr.
_ADDRESS_BYTES = 16
#: Seconds between two looks at connections that are waited for.
FADING_S = 2.0
_HINT = "`modprobe ip_vs` and `modprobe ip_vs_wrr` load what most kernels have as modules; without them choose nftables"

#: What tells a service: family (IPv6 or not) and mark.
_Key = tuple[bool, int]


def fault() -> str:
    """Why this kernel cannot balance so, in words; empty if it can. Asking loads what it has as a module."""
    try:
        with Netlink(_GENERIC) as netlink:
            return "" if _family(netlink) else "this kernel has no IPVS (module ip_vs)"
    except OSError as error:
        return f"this kernel has no generic netlink ({os.strerror(error.errno or 0).lower()})"


class Fading:
    """Services and destinations that get no new connections and go when they have none any more, by namespace."""

    def __init__(self, path: Callable[[str], str]) -> None:
        self._path = path
        #: Namespace -> service -> destinations of it (packed), None: the service itself goes with its last one.
        self._waiting: dict[str, dict[_Key, set[bytes] | None]] = {}
        self._due = 0.0

    def add(self, ns: str, service: _Key, destinations: Iterable[bytes] | None) -> None:
        """These have weight 0 now; None: all that the service has."""
        known = self._waiting.setdefault(ns, {})
        former = known.get(service, set())
        known[service] = None if destinations is None or former is None else former | {*destinations}
        self._due = time.monotonic() + FADING_S

    def waits(self, ns: str, service: _Key) -> bool:
        """Whether anything of a service is waited for."""
        return service in self._waiting.get(ns, {})

    def forget(self, ns: str, service: _Key) -> None:
        """The service stands again, or differently."""
        known = self._waiting.get(ns, {})
        known.pop(service, None)
        if not known:
            self._waiting.pop(ns, None)

    def drop(self, ns: str) -> None:
        """A namespace goes, with all that is in it."""
        self._waiting.pop(ns, None)

    def patience(self) -> float | None:
        """Seconds to wait for other work before ``settle``; None when nothing waits."""
        return max(0.0, self._due - time.monotonic()) if self._waiting else None

    def settle(self) -> None:
        """Take away what has no connection any more. Must not raise."""
        if not self._waiting or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + FADING_S
        for ns, services in list(self._waiting.items()):
            try:
                with netns.inside(self._path(ns)), Netlink(_GENERIC) as netlink:
                    family = _family(netlink)
                    for service, destinations in list(services.items()):
                        if _faded(netlink, family, service, destinations):
                            del services[service]
            except OSError:
                services.clear()  # the namespace is gone
            if not services:
                del self._waiting[ns]


def change(
    path: Callable[[str], str], steps: Sequence[Step], dead: Container[str], fading: Fading
) -> tuple[list[Step], list[Refused]]:
    """Carry out the steps that are about virtual services, but for namespaces that are ``dead``: those that were begun, and what
    the kernel refused."""
    by_ns: dict[str, list[Step]] = {}
    for step in steps:
        item = step.after if isinstance(step, Change) else step.object
        if isinstance(item, VirtualService) and item.ns not in dead:
            by_ns.setdefault(item.ns, []).append(step)
    done: list[Step] = []
    failures: list[Refused] = []
    for ns, group in by_ns.items():
        try:
            with netns.inside(path(ns)), Netlink(_GENERIC) as netlink:
                family = _family(netlink)
                if not family:
                    raise refused("balance by IPVS", errno.EOPNOTSUPP, f"the kernel has none; {_HINT}")
                for step in group:
                    done.append(step)  # what is refused in its middle may have had an effect, too
                    _carry(netlink, family, step, fading)
        except Refused as failure:
            failures.append(failure)
        except OSError as error:
            failures.append(from_os(error, "balance by IPVS"))
    return done, failures


def compare(path: Callable[[str], str], spaces: Iterable[str], desired: Iterable[Object], fading: Fading) -> list[str]:
    """Make the virtual services of these namespaces what is desired; what was done, in words."""
    wanted: dict[str, dict[_Key, VirtualService]] = {}
    for item in desired:
        if isinstance(item, VirtualService):
            wanted.setdefault(item.ns, {})[item.v6, item.mark] = item
    words: list[str] = []
    with suppress(OSError), Netlink(_GENERIC) as netlink:
        # a kernel that was never asked to have it has nothing of it
        if not _family(netlink, load=bool(wanted)):
            return []
    for ns in spaces:
        with suppress(OSError, Refused), netns.inside(path(ns)), Netlink(_GENERIC) as netlink:
            family = _family(netlink, load=False)
            for key in _services(netlink, family) if family else ():
                service = wanted.get(ns, {}).pop(key, None)
                present = {address: weight for address, weight, _ in _destinations(netlink, family, key)}
                if service is None:
                    words += [f"removed virtual service {key[1]:#x} in {ns}"] if any(present.values()) else []
                    _fade(netlink, family, key, present)
                    fading.add(ns, key, None)
                elif present != dict(_packed(service)):
                    _set(netlink, family, service, present, fading)
                    words.append(f"mended virtual service {service.address} in {ns}")
            for service in wanted.get(ns, {}).values() if family else ():
                _set(netlink, family, service, {}, fading)
                words.append(f"made virtual service {service.address} in {ns}")
    return words


def _carry(netlink: Netlink, family: int, step: Step, fading: Fading) -> None:
    match step:
        case Create(VirtualService() as item):
            _set(netlink, family, item, {}, fading)
        case Change(VirtualService() as before, VirtualService() as after):
            _set(netlink, family, after, dict(_packed(before)), fading)
        case Delete(VirtualService() as item):
            key = item.v6, item.mark
            _fade(netlink, family, key, dict(_packed(item)))
            fading.add(item.ns, key, None)
        case _:
            pass


def _set(netlink: Netlink, family: int, item: VirtualService, present: dict[bytes, int], fading: Fading) -> None:
    """Have a service lead where it should; what it has ``present`` beside that fades."""
    key, due = (item.v6, item.mark), dict(_packed(item))
    if fading.waits(item.ns, key):
        present = {address: weight for address, weight, _ in _destinations(netlink, family, key)}
    requests = [_message(family, _NEW_SERVICE, _service(key, item.scheduler))]
    for address, weight in due.items():
        body = _service(key) + _destination(key, address, weight)
        requests += [_message(family, command, body) for command in (_NEW_DESTINATION, _SET_DESTINATION)]
    answers = netlink.request(requests)
    for answer in answers:
        # what is there already is no fault: the message after it says how it is to be
        if answer is not None and answer.code != errno.EEXIST:
            raise refused(f"make virtual service {item.address}", answer.code, answer.text or _HINT, item)
    gone = {address: weight for address, weight in present.items() if address not in due}
    _fade(netlink, family, key, gone)
    fading.forget(item.ns, key)
    if gone:
        fading.add(item.ns, key, gone)


def _fade(netlink: Netlink, family: int, key: _Key, destinations: Iterable[bytes]) -> None:
    """No new connections for these; one that is gone already needs none."""
    bodies = [_service(key) + _destination(key, address, 0) for address in destinations]
    netlink.request([_message(family, _SET_DESTINATION, body) for body in bodies])


def _faded(netlink: Netlink, family: int, key: _Key, destinations: set[bytes] | None) -> bool:
    """Take away those that have no connection; whether nothing is left to wait for."""
    standing = list(_destinations(netlink, family, key))
    ours = [row for row in standing if destinations is None or row[0] in destinations]
    free = [address for address, weight, active in ours if not weight and not active]
    bodies = [_service(key) + _destination(key, address, 0) for address in free]
    netlink.request([_message(family, _DELETE_DESTINATION, body) for body in bodies])
    if destinations is None and len(free) == len(standing):
        netlink.request([_message(family, _DELETE_SERVICE, _service(key))])
    return len(free) == len(ours)


def _family(netlink: Netlink, *, load: bool = True) -> int:
    """The number of the family; 0: there is none. Asking for it by name has the kernel ``load`` its module."""
    if load:
        name = m.raw_attribute(_FAMILY_NAME, _NAME + b"\0")
        netlink.request([_message(_CONTROLLER, _GET_FAMILY, name)])
    for data in netlink.dump(bytes(_message(_CONTROLLER, _GET_FAMILY, b"", m.NLM_F_DUMP))):
        found = m.raw_attributes(data, _BODY)
        if found.get(_FAMILY_NAME, b"").rstrip(b"\0") == _NAME:
            return int(_U16.unpack(found[_FAMILY_ID])[0])
    return 0


def _services(netlink: Netlink, family: int) -> list[_Key]:
    """The services by marks of a namespace; those by address are not ours."""
    rows = netlink.dump(bytes(_message(family, _GET_SERVICE, b"", m.NLM_F_DUMP)))
    found = [m.raw_attributes(m.raw_attributes(data, _BODY).get(_SERVICE, b""), 0) for data in rows]
    return [
        (_U16.unpack(one[_AF])[0] == socket.AF_INET6, int(_U32.unpack(one[_MARK])[0])) for one in found if _MARK in one
    ]


def _destinations(netlink: Netlink, family: int, key: _Key) -> Iterator[tuple[bytes, int, int]]:
    """Packed address, weight and living connections of each."""
    request = bytes(_message(family, _GET_DESTINATION, _service(key), m.NLM_F_DUMP))
    try:
        rows = netlink.dump(request)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return  # the service is gone
        raise
    for data in rows:
        one = m.raw_attributes(m.raw_attributes(data, _BODY).get(_DESTINATION, b""), 0)
        if _ADDRESS in one and _WEIGHT in one:
            address = one[_ADDRESS][: 16 if key[0] else 4]
            yield address, _U32.unpack(one[_WEIGHT])[0], _U32.unpack(one.get(_ACTIVE, bytes(4)))[0]


def _packed(item: VirtualService) -> Iterator[tuple[bytes, int]]:
    for address, weight in item.destinations:
        yield socket.inet_pton(socket.AF_INET6 if item.v6 else socket.AF_INET, address), weight


def _service(key: _Key, scheduler: str = "") -> bytes:
    """What tells a service, with a ``scheduler`` also all that the kernel wants to know of a new one."""
    v6, mark = key
    body = _number16(_AF, socket.AF_INET6 if v6 else socket.AF_INET) + _number(_MARK, mark)
    if scheduler:
        body += m.raw_attribute(_SCHEDULER, scheduler.encode() + b"\0")
        body += m.raw_attribute(_FLAGS, _U32.pack(0) + _U32.pack(0xFFFFFFFF)) + _number(_TIMEOUT, 0)
        body += _number(_NETMASK, 128 if v6 else 0xFFFFFFFF)
    return m.raw_attribute(_SERVICE, body, nested=True)


def _destination(key: _Key, address: bytes, weight: int) -> bytes:
    body = m.raw_attribute(_ADDRESS, address + bytes(_ADDRESS_BYTES - len(address))) + _number16(_PORT, 0)
    body += _number(_METHOD, _TRANSLATED) + _number(_WEIGHT, weight) + _number(_UPPER, 0) + _number(_LOWER, 0)
    body += _number16(_ADDRESS_FAMILY, socket.AF_INET6 if key[0] else socket.AF_INET)
    return m.raw_attribute(_DESTINATION, body, nested=True)


def _number(kind: int, value: int) -> bytes:
    return m.raw_attribute(kind, _U32.pack(value))


def _number16(kind: int, value: int) -> bytes:
    return m.raw_attribute(kind, _U16.pack(value))


def _message(family: int, command: int, body: bytes, flags: int = 0) -> bytearray:
    version = _VERSION if family != _CONTROLLER else 2
    data = _HEAD.pack(command, version, 0) + body
    return bytearray(m.HEADER.pack(m.HEADER.size + len(data), family, m.NLM_F_REQUEST | flags, 0, 0) + data)
