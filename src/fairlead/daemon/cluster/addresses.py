"""Which addresses a member listens at, tells others, and ends its tunnels at: as Docker finds and refuses them
(moby: daemon/cluster/listen_addr.go)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fairlead.api.contract_swarm import Addresses
from fairlead.api.control import CONTROL_PORT
from fairlead.kernel.interfaces import Interface
from fairlead.model import codes
from fairlead.model.errors import Invalid

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORT_MAX = 65535

_BAD_LISTEN = "listen address must be an IP address or network interface (with optional port number)"
_BAD_ADVERTISE = "advertise address must be a non-zero IP address or network interface (with optional port number)"
_BAD_DATA_PATH = "data path address must be a non-zero IP address or network interface (without a port number)"
_FLAG = " - specify one with --advertise-addr"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The addresses of a member, bare; ``advertise`` is empty where the manager is to say where it sees the node."""

    listen: str
    port: int
    advertise: str
    advertise_port: int
    data_path: str


def resolve(wanted: Addresses, interfaces: Sequence[Interface], *, joining: bool = False) -> Resolved:
    """What was asked for, by interface or address, and the rest found out; raises ``Invalid`` in Docker's words. A node
    that is ``joining`` need not know what to tell others: the manager sees it."""
    listen, port = _split(wanted.listen or "0.0.0.0", CONTROL_PORT, _BAD_LISTEN)
    listen = _named(listen or "0.0.0.0", interfaces, _BAD_LISTEN)
    advertise, advertise_port = "", port
    if wanted.advertise:
        advertise, advertise_port = _split(wanted.advertise, port, _BAD_ADVERTISE)
        advertise = _non_zero(_named(advertise, interfaces, _BAD_ADVERTISE), _BAD_ADVERTISE)
    elif not _address(listen).is_unspecified:
        advertise = listen
    elif not joining:
        advertise = _found(interfaces)
    data_path = wanted.data_path
    if data_path:
        data_path = _non_zero(_named(data_path, interfaces, _BAD_DATA_PATH), _BAD_DATA_PATH)
    return Resolved(listen, port, advertise, advertise_port, data_path or advertise)


def remote(text: str) -> str:
    """A manager's address as ``host:port``, with swarm's port unless another one is named; raises ``Invalid``."""
    host, port = _split(text, CONTROL_PORT, f"invalid remote address {text!r}: write HOST:PORT")
    if not host:
        raise _refused(f"invalid remote address {text!r}: write HOST:PORT")
    return place(host, port)


def place(host: str, port: int) -> str:
    """``host:port`` as it is written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(text: str, port: int, words: str) -> tuple[str, int]:
    """Host and port out of ``HOST``, ``HOST:PORT``, ``[V6]``, ``[V6]:PORT`` or a bare IPv6 address."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _refused(words)
        number = rest[1:]
    elif text.count(":") > 1:
        return text, port
    else:
        host, _, number = text.partition(":")
    if not number:
        return host, port
    if not (number.isascii() and number.isdigit() and len(number) <= 5 and 0 < int(number) <= _PORT_MAX):
        raise _refused(words)
    return host, int(number)


def _named(text: str, interfaces: Iterable[Interface], words: str) -> str:
    """The address that a text is, or that the interface of that name has."""
    try:
        return str(_address(text))
    except ValueError:
        pass
    found = next((one for one in interfaces if one.name == text), None)
    if found is None:
        raise _refused(words)
    return _only(found)


def _only(interface: Interface) -> str:
    """The address of an interface: its only IPv4 address, or its only IPv6 address if it has none of the other."""
    for version in (4, 6):
        addresses = [text for text in interface.addresses if _address(text).version == version]
        if len(addresses) > 1:
            raise _refused(
                f"interface {interface.name} has more than one IPv{version} address ({addresses[0]} and {addresses[1]})"
            )
        if addresses:
            return addresses[0]
    raise _refused(f"interface {interface.name} has no usable IPv4 or IPv6 addresses")


def _found(interfaces: Sequence[Interface]) -> str:
    """The one address of a real device; where there is none, the one of any interface that is not ours."""
    usable = [one for one in interfaces if one.up and not one.loopback and not one.ours]
    rules: tuple[Callable[[Interface], bool], ...] = (lambda one: not one.kind, lambda one: True)
    for rule in rules:
        candidates = [(one.name, text) for one in filter(rule, usable) for text in _preferred(one)]
        if len(candidates) == 1:
            return candidates[0][1]
        if candidates:
            raise _several(candidates)
    raise _refused("could not find the system's IP address" + _FLAG)


def _preferred(interface: Interface) -> list[str]:
    """Addresses that can be told others: those of IPv4, of IPv6 only where there is none of IPv4."""
    addresses = [text for text in interface.addresses if not _address(text).is_loopback]
    return [text for text in addresses if _address(text).version == 4] or addresses


def _several(candidates: list[tuple[str, str]]) -> Invalid:
    words = "could not choose an IP address to advertise since this system has multiple addresses on "
    (first, one), (second, other) = candidates[:2]
    if first == second:
        return _refused(f"{words}interface {first} ({one} and {other}){_FLAG}")
    return _refused(f"{words}different interfaces ({one} on {first} and {other} on {second}){_FLAG}")


def _non_zero(text: str, words: str) -> str:
    if _address(text).is_unspecified:
        raise _refused(words)
    return text


def _address(text: str) -> _Address:
    return ipaddress.ip_address(text)


def _refused(words: str) -> Invalid:
    return Invalid(words, hint="`ip -brief address` lists interfaces and addresses", code=codes.ADDRESS_UNCLEAR)
