from __future__ import annotations

import pytest

from fairlead.ipam.validate import check_endpoint, check_pools
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Invalid
from fairlead.model.network import Network, Pool, PoolRequest


def pool_faults(*requests, ipv6=True):
    with pytest.raises(Invalid) as caught:
        check_pools(requests, ipv6=ipv6)
    title, *faults = str(caught.value).split("\n")
    assert title == "invalid network config:"
    assert caught.value.hint
    return faults


@pytest.mark.parametrize(
    "request_",
    [
        PoolRequest(),
        PoolRequest("0.0.0.0/24"),
        PoolRequest("::/0"),
        PoolRequest("10.0.0.0/24", "10.0.0.0/25", "10.0.0.200", {"a": "10.0.0.201"}),
        PoolRequest("10.0.0.0/24", "10.0.0.0/24"),
        PoolRequest("fd00::/64", "fd00::/80", "fd00:0:0:0:ffff::1", {"DefaultGatewayIPv6": "fd00::2"}),
        PoolRequest("10.0.0.0/31"),
        PoolRequest("10.0.0.1/32"),
        PoolRequest("fe80::/64"),
    ],
)
def test_what_fits_together_passes(request_):
    check_pools([request_], ipv6=True)


@pytest.mark.parametrize(
    ("request_", "faults"),
    [
        (PoolRequest("10.10.10.0/8"), ["invalid subnet 10.10.10.0/8: it should be 10.0.0.0/8"]),
        (PoolRequest("foobar"), ["invalid subnet foobar: invalid CIDR block notation"]),
        (PoolRequest("10.0.0.0"), ["invalid subnet 10.0.0.0: invalid CIDR block notation"]),
        (PoolRequest("10.0.0.0/33"), ["invalid subnet 10.0.0.0/33: invalid CIDR block notation"]),
        (PoolRequest("10.0.0.0/255.0.0.0"), ["invalid subnet 10.0.0.0/255.0.0.0: invalid CIDR block notation"]),
        (
            PoolRequest("10.10.10.0/24", "foobar", "1001.10.5.3", {"DefaultGatewayIPv4": "dummy"}),
            [
                "invalid ip-range foobar: invalid CIDR block notation",
                "invalid gateway 1001.10.5.3: invalid address",
                "invalid auxiliary address DefaultGatewayIPv4: invalid address",
            ],
        ),
        (
            PoolRequest("10.10.10.0/24", "10.0.0.0/8"),
            ["invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.10.10.0/24"],
        ),
        (
            PoolRequest("10.0.0.0/8", "192.168.0.1/24", "192.168.0.1", {"DefaultGatewayIPv4": "192.168.0.1"}),
            [
                "invalid ip-range 192.168.0.1/24: it should be 192.168.0.0/24",
                "invalid ip-range 192.168.0.1/24: parent subnet 10.0.0.0/8 doesn't contain ip-range",
                "invalid gateway 192.168.0.1: parent subnet 10.0.0.0/8 doesn't contain this address",
                "invalid auxiliary address DefaultGatewayIPv4: parent subnet 10.0.0.0/8 doesn't contain this address",
            ],
        ),
        (
            PoolRequest("10.10.0.0/16", "2001:db8::/32", "2001:db8::1", {"x": "2001:db8::1"}),
            [
                "invalid ip-range 2001:db8::/32: parent subnet is an IPv4 block",
                "invalid gateway 2001:db8::1: parent subnet is an IPv4 block",
                "invalid auxiliary address x: parent subnet is an IPv4 block",
            ],
        ),
        (
            PoolRequest("fd00::/64", "", "10.0.0.1"),
            ["invalid gateway 10.0.0.1: parent subnet is an IPv6 block"],
        ),
    ],
)
def test_faults_in_dockers_words(request_, faults):
    assert pool_faults(request_) == faults


def test_all_faults_of_all_subnets_are_told():
    assert len(pool_faults(PoolRequest("10.0.0.1/8", "", "nonsense"), PoolRequest("fd00::1/64"))) == 3


def test_ipv6_subnets_are_skipped_when_ipv6_is_off():
    check_pools([PoolRequest("fd00::1/64", "", "nonsense")], ipv6=False)


def test_parts_of_a_subnet_that_is_not_named_are_faults():
    faults = pool_faults(PoolRequest("", "10.0.0.0/25", "10.0.0.1", {"a": "10.0.0.2"}))
    assert [fault.split(":")[0] for fault in faults] == [
        "invalid ip-range 10.0.0.0/25",
        "invalid gateway 10.0.0.1",
        "invalid auxiliary address a",
    ]


@pytest.mark.parametrize("subnet", ["127.0.0.0/8", "224.1.0.0/16", "0.1.0.0/16", "fe80:2::/64", "240.0.0.0/24"])
def test_senseless_subnets_are_faults(subnet):
    assert pool_faults(PoolRequest(subnet))[0].startswith(f"invalid subnet {subnet}: ")


def network(name="blue", *subnets):
    pools = tuple(Pool(id=subnet, subnet=subnet) for subnet in subnets)
    return Network(id="0" * 64, name=name, driver="bridge", created=0.0, ipv6=True, pools=pools)


BLUE = network("blue", "10.0.0.0/24", "10.1.0.0/24", "fd00::/64")


def endpoint_faults(where, settings):
    with pytest.raises(Invalid) as caught:
        check_endpoint(where, settings)
    title, *faults = str(caught.value).split("\n")
    assert title == "invalid endpoint settings:"
    assert where.name in caught.value.hint
    return faults


@pytest.mark.parametrize(
    "settings",
    [
        EndpointSettings(),
        EndpointSettings(ipv4="10.1.0.9", ipv6="fd00::9", link_local=("169.254.1.1", "fe80::1"), aliases=("web",)),
        EndpointSettings(driver_opts={"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}),
    ],
)
def test_settings_that_fit_the_network_pass(settings):
    check_endpoint(BLUE, settings)


@pytest.mark.parametrize(
    ("settings", "faults"),
    [
        (EndpointSettings(ipv4="10.2.0.9"), ["no configured subnet contains IP address 10.2.0.9"]),
        (EndpointSettings(ipv6="fd01::1"), ["no configured subnet contains IP address fd01::1"]),
        (EndpointSettings(ipv4="fd00::9"), ["invalid IPv4 address: fd00::9"]),
        (EndpointSettings(ipv4="0.0.0.0"), ["invalid IPv4 address: 0.0.0.0"]),
        (EndpointSettings(ipv4="10.0.0"), ["invalid IPv4 address: 10.0.0"]),
        (EndpointSettings(ipv6="10.0.0.9"), ["invalid IPv6 address: 10.0.0.9"]),
        (EndpointSettings(ipv6="::"), ["invalid IPv6 address: ::"]),
        (EndpointSettings(ipv6="fd00::9%eth0"), ["invalid IPv6 address: fd00::9%eth0"]),
        (EndpointSettings(ipv6="::ffff:10.0.0.9"), ["invalid IPv6 address: ::ffff:10.0.0.9"]),
        (
            EndpointSettings(link_local=("10.0.0.1", "169.254.0.1", "fd00::1", "x")),
            [f"invalid link-local IP address: {text}" for text in ("10.0.0.1", "fd00::1", "x")],
        ),
        (
            EndpointSettings(driver_opts={"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.forwarding=1"}),
            [
                (
                    "unrecognised network interface sysctl 'net.ipv4.conf.eth0.forwarding=1'; represent "
                    "'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
                )
            ],
        ),
        (
            EndpointSettings(ipv4="fd00::9", ipv6="fd01::1"),
            ["invalid IPv4 address: fd00::9", "no configured subnet contains IP address fd01::1"],
        ),
    ],
)
def test_endpoint_faults_in_dockers_words(settings, faults):
    assert endpoint_faults(BLUE, settings) == faults


def test_predefined_networks_take_neither_addresses_nor_aliases():
    settings = EndpointSettings(ipv4="172.17.0.9", aliases=("web",))
    assert endpoint_faults(network("bridge", "172.17.0.0/16"), settings) == [
        "user-specified IP address is supported on user-defined networks only",
        "network-scoped aliases are only supported for user-defined networks",
    ]
