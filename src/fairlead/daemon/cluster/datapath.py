"""What the way to the other nodes carries: measured when the node joins, not assumed.

Tunnels add 50 bytes (70 over IPv6), and what does not fit is lost without a word where a router or a provider's network
drops it: small requests work, large ones hang. So the routes are asked for their MTU, and then echo requests that may
not be fragmented (RFC 8899's idea, with ICMP) show what really arrives. Answers may be forbidden; then the route is
believed. Also looked at: whether packets from the data path address arrive at all (moby 53004), and whether the network
card computes wrong checksums within tunnels (moby 41775): ``checksums`` sees it, and where it cannot, the names of drivers
that are known to are believed, as long as the card is asked for checksums.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from fairlead.daemon.cluster import keepsake
from fairlead.daemon.cluster.checksums import LATE_S, Seen
from fairlead.daemon.cluster.contract import Place
from fairlead.model.events import DataPath

#: What the last start found, in the node's folder of the cluster.
PATH_FILE = "data-path.json"
#: Other nodes that are asked, and seconds for all of it.
HOSTS_MAX, PATIENCE_S = 3, 4.0
#: Seconds for an answer to an echo request; times that each is sent.
ANSWER_S, ATTEMPTS = 0.3, 2
#: Sizes that are tried at a time between the largest that is known to arrive and the smallest that is known not to.
SIZES = 16
#: Bytes that every path carries (RFC 8200 section 5; IPv4 paths below it carry no overlay worth having).
MTU_MIN = 1280
#: MTU that is taken for granted when nothing can be found out.
MTU_USUAL = 1500
#: Drivers whose cards compute wrong checksums within VXLAN at some ports (moby 41775: VMware's).
FAULTY_DRIVERS = {"vmxnet3": frozenset({4789, 8472})}

# linux/in.h, linux/in6.h, linux/sockios.h, linux/ethtool.h: what Python's socket does not name.
_IP_MTU_DISCOVER, _IP_MTU, _IPV6_MTU_DISCOVER, _IPV6_MTU, _PMTUDISC_PROBE = 10, 14, 23, 24, 3
_SIOCGIFCONF, _SIOCGIFMTU, _SIOCETHTOOL, _ETHTOOL_GDRVINFO, _ETHTOOL_GTXCSUM = 0x8912, 0x8921, 0x8946, 3, 0x16
_IFREQ_BYTES, _NAME_BYTES, _DRVINFO_BYTES, _VALUE_BYTES = 40, 16, 196, 8
_ECHO = struct.Struct("!BBHHH")
_IPV4_HEADER_MIN, _IPV6_HEADER = 20, 40


@dataclass(frozen=True, slots=True)
class Measured:
    """``mtu`` in bytes of the way to the other nodes, and what an operator should know of it."""

    mtu: int
    warnings: tuple[str, ...] = ()


def keep(folder: str, path: DataPath) -> None:
    """Remember for the next start."""
    keepsake.write_value(Path(folder) / PATH_FILE, path)


def stored(folder: str) -> DataPath | None:
    """What the last start found, None when this node is in no cluster."""
    return keepsake.read_value(Path(folder) / PATH_FILE, DataPath)


def quick(place: Place, hosts: Sequence[str]) -> Measured:
    """What routes and links say; asks nobody."""
    source = _source(place)
    if not _is_local(source):
        warning = (
            f"the data path address {source} is not one of this host: tunnels cannot begin there; "
            "`fairlead swarm join --data-path-addr` takes another"
        )
        return Measured(MTU_USUAL, (warning,))
    device = _device_of(source)
    warnings = _card(device, place.data_path_port) if device else ()
    mtus = [_route_mtu(source, host) for host in hosts[:HOSTS_MAX] if _same_family(source, host)]
    if device:
        mtus.append(_link_mtu(device))
    return Measured(max(MTU_MIN, min((mtu for mtu in mtus if mtu), default=MTU_USUAL)), warnings)


def measure(place: Place, hosts: Sequence[str]) -> Measured:
    """The same, and what arrives at other nodes. Takes up to ``PATIENCE_S`` seconds, more than once only for what is lost."""
    found = quick(place, hosts)
    source = _source(place)
    if not _is_local(source):
        return found
    until, mtu, warnings = time.monotonic() + PATIENCE_S, found.mtu, list(found.warnings)
    for host in [host for host in hosts if _same_family(source, host)][:HOSTS_MAX]:
        try:
            carried = _carried(source, host, mtu, until)
            if carried is None and _carried("", host, MTU_MIN, until) is not None:
                warnings.append(
                    f"packets from the data path address {source} get no answer from {host}, others do: a firewall, or "
                    "reverse path filtering there (rp_filter), drops them, and would drop tunnels"
                )
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EACCES, errno.ENETUNREACH, errno.EHOSTUNREACH}:
                warnings.append(f"the way to {host} cannot be measured: {error.strerror}")
            continue
        if carried is not None and carried < mtu:
            warnings.append(
                f"packets of more than {carried} bytes do not arrive at {host}, though the route there is said to carry "
                f"{mtu}: overlays use {carried}"
            )
            mtu = carried
    return Measured(mtu, tuple(warnings))


def judged(found: Measured, place: Place, seen: Seen | None) -> Measured:
    """With what another node has seen of the checksums within tunnels, which weighs more than a driver's name."""
    device = _device_of(_source(place))
    if seen is None or not device:
        return found
    known = _card(device, place.data_path_port)
    warnings = tuple(warning for warning in found.warnings if warning not in known)
    if not seen.right:
        spoilt = (
            f"packets within tunnels arrive at {seen.host} with wrong checksums: the card of {device}, or something on the "
            f"way, spoils them at UDP port {place.data_path_port} (moby 41775), and TCP through overlays will hang; "
            f"{_remedy(device)}"
        )
        warnings = (*warnings, spoilt)
    return replace(found, warnings=warnings)


def _source(place: Place) -> str:
    return str(ip_address(place.data_path or place.advertise))


def _same_family(one: str, other: str) -> bool:
    try:
        return ip_address(one).version == ip_address(other).version
    except ValueError:
        return False


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_local(address: str) -> bool:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _route_mtu(source: str, host: str) -> int:
    """What the kernel knows of the way, path MTU discovery included; 0 when there is no way."""
    family = _family(host)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((source, 0))
            probe.connect((host, 9))
            if family == socket.AF_INET6:
                return probe.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
            return probe.getsockopt(socket.IPPROTO_IP, _IP_MTU)
        except OSError:
            return 0


def _device_of(address: str) -> str:
    """The device that has an address of this host; empty when it cannot be told."""
    if ":" in address:
        wanted = IPv6Address(address).packed.hex()
        with suppress(OSError):
            for line in Path("/proc/self/net/if_inet6").read_text().splitlines():
                fields = line.split()
                if fields[0] == wanted:
                    return fields[5]
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        room = bytearray(_IFREQ_BYTES * 1024)
        # the kernel writes to an address that it is given, so the array must stay where it is
        view = (ctypes.c_char * len(room)).from_buffer(room)
        size = struct.unpack_from(
            "i", fcntl.ioctl(asking, _SIOCGIFCONF, struct.pack("iL", len(room), ctypes.addressof(view)))
        )[0]
        for at in range(0, size, _IFREQ_BYTES):
            if socket.inet_ntoa(bytes(room[at + 20 : at + 24])) == address:
                return bytes(room[at : at + _NAME_BYTES]).split(b"\0")[0].partition(b":")[0].decode()
    return ""


def _link_mtu(device: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            reply = fcntl.ioctl(asking, _SIOCGIFMTU, device.encode().ljust(_IFREQ_BYTES, b"\0"))
        except OSError:
            return 0
    return int(struct.unpack_from("i", reply, _NAME_BYTES)[0])


def _card(device: str, port: int) -> tuple[str, ...]:
    """What is known of the card's driver, in words."""
    driver = _ethtool(device, _ETHTOOL_GDRVINFO, _DRVINFO_BYTES)[4:36].split(b"\0")[0].decode("ascii", "replace")
    if port not in FAULTY_DRIVERS.get(driver, ()) or not any(_ethtool(device, _ETHTOOL_GTXCSUM, _VALUE_BYTES)[4:]):
        return ()
    warning = (
        f"the driver of {device} ({driver}) computes wrong checksums within tunnels at UDP port {port} (moby 41775): "
        f"{_remedy(device)}"
    )
    return (warning,)


def _remedy(device: str) -> str:
    return (
        f"`ethtool -K {device} tx-checksum-ip-generic off` on this node, and at each start of it, or another "
        "`--data-path-port` for the cluster"
    )


def _ethtool(device: str, command: int, size: int) -> bytes:
    """What the driver answers; empty when it does not."""
    answer = bytearray(struct.pack("I", command) + bytes(size - 4))
    view = (ctypes.c_char * size).from_buffer(answer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            name = device.encode().ljust(_NAME_BYTES, b"\0")
            fcntl.ioctl(asking, _SIOCETHTOOL, struct.pack("16sP16x", name, ctypes.addressof(view)))
        except OSError:
            return b""
    return bytes(answer)


def _carried(source: str, host: str, mtu: int, until: float) -> int | None:
    """The largest packet up to ``mtu`` that arrives at a host and whose answer comes back; None when none does."""
    with closing(_echo_socket(source, host)) as probe:
        arrived = _answered(probe, host, (MTU_MIN, mtu), until)
        if not arrived or mtu in arrived:
            return max(arrived, default=None)
        low, high = max(arrived), mtu
        while high - low > 1 and time.monotonic() < until:
            step = max(1, (high - low) // SIZES)
            low = max(_answered(probe, host, range(low + step, high, step), until), default=low)
            high = min(high, low + step)
        return low


def _echo_socket(source: str, host: str) -> socket.socket:
    family = _family(host)
    over_ipv6 = family == socket.AF_INET6
    probe = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if over_ipv6 else socket.IPPROTO_ICMP)
    try:
        if over_ipv6:
            probe.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            probe.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        if source:
            probe.bind((source, 0))
        probe.connect((host, 0))
        probe.setblocking(False)
    except OSError:
        probe.close()
        raise
    return probe


def _answered(probe: socket.socket, host: str, sizes: Iterable[int], until: float) -> set[int]:
    """Which sizes of packets come back, of those that are sent now. The size is the request's number."""
    wanted, mark = set(sizes), os.getpid() & 0xFFFF
    over_ipv6 = ":" in host
    overhead = _ECHO.size + (_IPV6_HEADER if over_ipv6 else _IPV4_HEADER_MIN)
    found: set[int] = set()
    for _ in range(ATTEMPTS):
        for size in sorted(wanted - found):
            with suppress(OSError):  # larger than the link, or a hop said so: it does not arrive
                probe.send(_echo_request(over_ipv6, mark, size, size - overhead))
        end = min(time.monotonic() + ANSWER_S, until)
        while found != wanted and (left := end - time.monotonic()) > -LATE_S:
            if not select.select([probe], [], [], max(0.0, left))[0]:
                break
            try:
                reply = probe.recv(65536)
            except OSError:
                continue
            found |= {size for size in [_echo_reply(reply, over_ipv6, mark)] if size in wanted}
        if found == wanted:
            break
    return found


def _echo_request(over_ipv6: bool, mark: int, number: int, payload: int) -> bytes:
    """An echo request (RFC 792, RFC 4443 section 4.1); of ICMPv6 the kernel writes the checksum."""
    if over_ipv6:
        return _ECHO.pack(128, 0, 0, mark, number) + bytes(payload)
    checksum = 0x0800 + mark + number
    while checksum >> 16:
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
    return _ECHO.pack(8, 0, ~checksum & 0xFFFF, mark, number) + bytes(payload)


def _echo_reply(packet: bytes, over_ipv6: bool, mark: int) -> int:
    """The number of an echo reply of ours, 0 for anything else."""
    start = 0 if over_ipv6 or not packet else (packet[0] & 15) * 4
    if len(packet) < start + _ECHO.size:
        return 0
    kind, _, _, identifier, number = _ECHO.unpack_from(packet, start)
    return int(number) if kind == (129 if over_ipv6 else 0) and identifier == mark else 0
