"""Network options: name, type, default and meaning, as Docker defines them, each parsed in one place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

from fairlead.model import codes
from fairlead.model.addresses import AnyAddress
from fairlead.model.errors import Invalid
from fairlead.model.ids import check_link_name

_PREFIX = "com.docker.network."
#: Device name of a bridge network (default ``br-<first 12 of id>``).
BRIDGE_NAME = _PREFIX + "bridge.name"
#: Whether containers of one bridge may talk to each other (default true).
BRIDGE_ICC = _PREFIX + "bridge.enable_icc"
#: Whether traffic to the outside gets the host's address (default true).
BRIDGE_MASQUERADE = _PREFIX + "bridge.enable_ip_masquerade"
#: Default host address of published ports, of either family (default every address).
BRIDGE_HOST_BINDING = _PREFIX + "bridge.host_binding_ipv4"
#: How a network meets the outside, by family: one of ``GATEWAY_MODES`` (default ``nat``).
BRIDGE_GATEWAY_MODE = {
    False: _PREFIX + "bridge.gateway_mode_ipv4",
    True: _PREFIX + "bridge.gateway_mode_ipv6",
}
#: Whether the bridge gets no IPv4 address, because something else is the gateway (default false).
BRIDGE_INHIBIT_IPV4 = _PREFIX + "bridge.inhibit_ipv4"
#: Host interfaces, separated by colons, from which published container ports may be reached directly.
BRIDGE_TRUSTED = _PREFIX + "bridge.trusted_host_interfaces"
#: The host address that traffic to the outside gets instead of that of the interface it leaves by, by family.
HOST_ADDRESS = {False: _PREFIX + "host_ipv4", True: _PREFIX + "host_ipv6"}
#: Whether a network has a family, for clients that cannot say it otherwise.
ENABLE_FAMILY = {False: _PREFIX + "enable_ipv4", True: _PREFIX + "enable_ipv6"}
#: Ours: every port of the network is pinned to its endpoint's MAC and addresses (default false; SEC-28).
ANTI_SPOOF = "fairlead.anti_spoof"
#: Bytes of the largest packet on the network's links; 0 means the node's default.
MTU = _PREFIX + "driver.mtu"
#: VXLAN network identifiers of an overlay network, comma separated: one for each segment, in order (Docker).
VXLAN_IDS = _PREFIX + "driver.overlay.vxlanid_list"
#: Largest VXLAN number: 24 bits (RFC 7348 section 5).
VXLAN_ID_MAX = 2**24 - 1
#: Whether an overlay network's traffic between nodes is to be encrypted; any value but ``false`` means it (Docker).
ENCRYPTED = "encrypted"
#: Ours: what balances connections to services in a network, one of ``BALANCERS`` (default the first).
BALANCER = "fairlead.lb"
NFTABLES, IPVS = "nftables", "ipvs"
BALANCERS = (NFTABLES, IPVS)
#: First part of interface names inside sandboxes (default ``eth``).
IFNAME_PREFIX = _PREFIX + "container_iface_prefix"
#: Exact interface name inside the sandbox, an option of an endpoint.
ENDPOINT_IFNAME = _PREFIX + "endpoint.ifname"
#: Settings of an endpoint's interface, ``net.ipv4.conf.IFNAME.log_martians=1`` and so on, comma separated.
ENDPOINT_SYSCTLS = _PREFIX + "endpoint.sysctls"
#: How often, and how many milliseconds apart, a new endpoint tells its neighbours where its addresses are.
ADVERTISE_MESSAGES = _PREFIX + "advertise_addr_nmsgs"
ADVERTISE_INTERVAL = _PREFIX + "advertise_addr_ms"

#: Least, most and usual number of such messages, and milliseconds between two (Docker, since v28.2).
_ADVERTISED = (0, 3, 3)
_ADVERTISED_MS = (100, 2000, 1000)
#: Smallest MTU that IPv4 links must carry (RFC 791 section 3.2), and what IPv6 needs (RFC 8200 section 5).
MTU_MIN = 68
MTU_MIN_V6 = 1280
#: Largest MTU of a Linux Ethernet-like device.
MTU_MAX = 65535

#: ``nat``: the host's address outwards, published ports inwards. ``nat-unprotected``: so too, and every port is reached by
#: container address. ``routed``: no translation, published ports are open on the container's address. ``isolated``:
#: an internal network without the host (Docker, since v27 and v28).
NAT, UNPROTECTED, ROUTED, ISOLATED = "nat", "nat-unprotected", "routed", "isolated"
GATEWAY_MODES = (NAT, UNPROTECTED, ROUTED, ISOLATED)

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off"})


def flag(options: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean option in any of the spellings that Go's ParseBool takes (and yes/no, on/off)."""
    text = options.get(name)
    if text is None or text == "":
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise unreadable(name, text, f'strconv.ParseBool: parsing "{text}": invalid syntax', "write true or false")


def encrypted(options: Mapping[str, str]) -> bool:
    """Whether a network's packets are to be encrypted between nodes; raises ``Invalid``."""
    return ENCRYPTED in options and flag(options, ENCRYPTED, True)


def unreadable(name: str, text: str, why: str, hint: str) -> Invalid:
    """The error for an option's value that makes no sense, in Docker's words."""
    return Invalid(f"failed to parse {name} value: {text} ({why})", hint=hint, code=codes.OPTION_INVALID)


def gateway_mode(options: Mapping[str, str], *, v6: bool) -> str:
    """One of ``GATEWAY_MODES``; raises ``Invalid``."""
    name = BRIDGE_GATEWAY_MODE[v6]
    mode = options.get(name, "") or NAT
    if mode not in GATEWAY_MODES:
        raise unreadable(name, mode, f"unknown gateway mode {mode}", f"write one of {', '.join(GATEWAY_MODES)}")
    return mode


def address(options: Mapping[str, str], name: str) -> AnyAddress | None:
    """The address that an option holds, or None when it is absent; an IPv4 address written as an IPv6 one is that
    IPv4 address. Raises ``Invalid``, for an address with a zone too: a zone is free text, and addresses become rules."""
    text = options.get(name, "")
    if not text:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        found = None
    if found is None or (isinstance(found, IPv6Address) and found.scope_id is not None):
        raise unreadable(name, text, "nil ip", "write an address like 192.0.2.1 or 2001:db8::1")
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def balancer(options: Mapping[str, str]) -> str:
    """One of ``BALANCERS``; raises ``Invalid``."""
    name = options.get(BALANCER, "") or NFTABLES
    if name not in BALANCERS:
        raise unreadable(BALANCER, name, f"unknown balancer {name}", f"write one of {', '.join(BALANCERS)}")
    return name


def host_address(options: Mapping[str, str], *, v6: bool) -> str:
    """The fixed address of traffic to the outside, or empty text; raises ``Invalid``."""
    name = HOST_ADDRESS[v6]
    found = address(options, name)
    if found is None:
        return ""
    if (found.version == 6) != v6:
        raise unreadable(name, str(found), "wrong address family", f"write an IPv{6 if v6 else 4} address")
    if found.is_unspecified or found.is_multicast:
        raise unreadable(name, str(found), "not an address of a host", "write an address that this host has")
    return str(found)


def trusted_interfaces(options: Mapping[str, str]) -> tuple[str, ...]:
    """The host interfaces that are trusted, each once; raises ``Invalid`` for what cannot be a link's name."""
    names = tuple(dict.fromkeys(filter(None, options.get(BRIDGE_TRUSTED, "").split(":"))))
    return tuple(check_link_name("trusted host interface", name) for name in names)


def families(options: Mapping[str, str], ipv4: bool | None, ipv6: bool | None) -> tuple[bool, bool]:
    """Whether a network has IPv4 and IPv6: what was asked, else what the options say, else IPv4 only."""
    by_option = flag(options, ENABLE_FAMILY[False], True), flag(options, ENABLE_FAMILY[True], False)
    return by_option[0] if ipv4 is None else ipv4, by_option[1] if ipv6 is None else ipv6


def announcement(options: Mapping[str, str]) -> tuple[int, int]:
    """(messages, milliseconds between two) with which an endpoint's addresses are announced; raises ``Invalid``."""
    return (
        _bounded(options, ADVERTISE_MESSAGES, *_ADVERTISED),
        _bounded(options, ADVERTISE_INTERVAL, *_ADVERTISED_MS),
    )


def vxlan_ids(options: Mapping[str, str]) -> tuple[int, ...]:
    """The VXLAN numbers that a network's options name, one for each segment; raises ``Invalid`` with Docker's text."""
    text, found = options.get(VXLAN_IDS, ""), []
    for word in text.split(",") if text else ():
        if not (word.isascii() and word.isdigit() and 0 < int(word) <= VXLAN_ID_MAX):
            raise Invalid(
                f"invalid vxlan id value {word!r} passed",
                hint=f"{VXLAN_IDS} is a list of numbers from 1 to {VXLAN_ID_MAX}, separated by commas",
                code=codes.OPTION_INVALID,
            )
        found.append(int(word))
    if len(set(found)) < len(found):
        raise Invalid(
            f"a VXLAN number is given twice in {VXLAN_IDS}",
            hint="each segment needs one of its own",
            code=codes.OPTION_INVALID,
        )
    return tuple(found)


def _bounded(options: Mapping[str, str], name: str, least: int, most: int, usual: int) -> int:
    text = options.get(name, "")
    if not text:
        return usual
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise Invalid(
            f"{name} must be in the range {least} to {most}",
            hint=f"{text!r} is not; {usual} is the default",
            code=codes.OPTION_INVALID,
        )
    return int(text)


def interface_sysctls(options: Mapping[str, str], ifname: str) -> tuple[tuple[str, str], ...]:
    """(path below ``/proc/sys``, value) of each setting asked for an endpoint's interface, whose name replaces the word
    IFNAME. The text was checked when the endpoint was asked for."""
    found = []
    for setting in filter(None, options.get(ENDPOINT_SYSCTLS, "").split(",")):
        name, _, value = setting.partition("=")
        words = [ifname if word in ("IFNAME", "ifname") else word for word in name.split(".")]
        found.append(("/".join(words), value))
    return tuple(found)


def mtu(options: Mapping[str, str], default: int, *, v6: bool = False) -> int:
    """The MTU option in bytes, or ``default`` when it is absent or 0."""
    text = options.get(MTU, "0") or "0"
    least = MTU_MIN_V6 if v6 else MTU_MIN
    if not text.isascii() or not text.isdigit() or not (int(text) == 0 or least <= int(text) <= MTU_MAX):
        raise unreadable(MTU, text, "not a size of packets", f"write a number of bytes from {least} to {MTU_MAX}")
    return int(text) or default
