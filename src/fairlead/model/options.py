"""Network options: name, type, default and meaning, as Docker defines them, each parsed in one place."""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.model.errors import Invalid

_PREFIX = "com.docker.network."
#: Device name of a bridge network (default ``br-<first 12 of id>``).
BRIDGE_NAME = _PREFIX + "bridge.name"
#: Whether containers of one bridge may talk to each other (default true).
BRIDGE_ICC = _PREFIX + "bridge.enable_icc"
#: Whether traffic to the outside gets the host's address (default true).
BRIDGE_MASQUERADE = _PREFIX + "bridge.enable_ip_masquerade"
#: Default host address of published ports (default every address).
BRIDGE_HOST_BINDING = _PREFIX + "bridge.host_binding_ipv4"
#: Bytes of the largest packet on the network's links; 0 means the node's default.
MTU = _PREFIX + "driver.mtu"
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
    raise Invalid(f"failed to parse {name} value: {text!r}", hint="write true or false")


def announcement(options: Mapping[str, str]) -> tuple[int, int]:
    """(messages, milliseconds between two) with which an endpoint's addresses are announced; raises ``Invalid``."""
    return (
        _bounded(options, ADVERTISE_MESSAGES, *_ADVERTISED),
        _bounded(options, ADVERTISE_INTERVAL, *_ADVERTISED_MS),
    )


def _bounded(options: Mapping[str, str], name: str, least: int, most: int, usual: int) -> int:
    text = options.get(name, "")
    if not text:
        return usual
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise Invalid(f"{name} must be in the range {least} to {most}", hint=f"{text!r} is not; {usual} is the default")
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
        raise Invalid(
            f"failed to parse {MTU} value: {text!r}", hint=f"write a number of bytes from {least} to {MTU_MAX}"
        )
    return int(text) or default
