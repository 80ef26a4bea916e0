"""What the inner end of an endpoint has with every driver that makes one: settings and addresses."""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.model import options
from fairlead.model.addresses import is_v6
from fairlead.model.endpoint import Endpoint
from fairlead.plan.objects import Address, Object, Sysctl

#: Settings that keep a link from being reconfigured by what neighbours advertise (CVE-2020-13401; SEC-08).
_DEAF = ("accept_ra", "accept_redirects", "autoconf")


def inner(endpoint: Endpoint, netns: str) -> Iterator[Object]:
    """IPv6 is switched off where the endpoint has none (SEC-09); settings that its user asks for win."""
    link = endpoint.ifname
    asked = dict(options.interface_sysctls(endpoint.settings.driver_opts, link))
    for path, value in {**_settings(endpoint), **asked}.items():
        yield Sysctl(netns, path, value, link, path in asked)
    for cidr in filter(None, (endpoint.ipv4, endpoint.ipv6)):
        yield Address(netns, link, cidr)


def deaf(ns: str, link: str) -> Iterator[Sysctl]:
    """Nothing that a neighbour advertises changes this link."""
    for name in _DEAF:
        yield Sysctl(ns, f"net/ipv6/conf/{link}/{name}", "0", link)


def _settings(endpoint: Endpoint) -> dict[str, str]:
    """Settings by path, as far as the endpoint's user does not ask for others."""
    conf = f"net/ipv6/conf/{endpoint.ifname}"
    v6 = bool(endpoint.ipv6) or any(map(is_v6, endpoint.settings.link_local))
    found = {f"{conf}/disable_ipv6": "0" if v6 else "1"}
    if v6:
        found |= {f"{conf}/{name}": "0" for name in _DEAF}
    return found
