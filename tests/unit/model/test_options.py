from __future__ import annotations

import pytest

from fairlead.model import options
from fairlead.model.errors import Invalid

NAME = options.BRIDGE_ICC


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True", "yes", "on"])
def test_spellings_of_true(text):
    assert options.flag({NAME: text}, NAME, default=False)


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False", "no", "off"])
def test_spellings_of_false(text):
    assert not options.flag({NAME: text}, NAME, default=True)


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("given", [{}, {NAME: ""}, {"another": "x"}])
def test_an_absent_or_empty_flag_is_the_default(given, default):
    assert options.flag(given, NAME, default) is default


@pytest.mark.parametrize("text", ["2", "maybe", " true", "ja"])
def test_any_other_flag_is_invalid_and_named(text):
    with pytest.raises(Invalid, match=NAME) as caught:
        options.flag({NAME: text}, NAME, default=True)
    assert f'strconv.ParseBool: parsing "{text}": invalid syntax' in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(("text", "value"), [("68", 68), ("1280", 1280), ("9000", 9000), ("65535", 65535)])
def test_an_mtu_in_range_is_taken(text, value):
    assert options.mtu({options.MTU: text}, 1500) == value


@pytest.mark.parametrize("given", [{}, {options.MTU: ""}, {options.MTU: "0"}])
@pytest.mark.parametrize("v6", [True, False])
def test_an_absent_mtu_or_zero_is_the_default(given, v6):
    assert options.mtu(given, 1450, v6=v6) == 1450


@pytest.mark.parametrize("text", ["67", "65536", "-1", "1500.0", "big", " 1500", "\u0661\u0665\u0660\u0660", "1e3"])
def test_any_other_mtu_is_invalid(text):
    with pytest.raises(Invalid, match=options.MTU) as caught:
        options.mtu({options.MTU: text}, 1500)
    assert "68 to 65535" in caught.value.hint


def test_ipv6_needs_larger_packets():
    assert options.mtu({options.MTU: "1279"}, 1500) == 1279
    with pytest.raises(Invalid):
        options.mtu({options.MTU: "1279"}, 1500, v6=True)
    assert options.mtu({options.MTU: "1280"}, 1500, v6=True) == 1280


def test_names_are_dockers():
    assert options.MTU == "com.docker.network.driver.mtu"
    assert options.BRIDGE_NAME == "com.docker.network.bridge.name"
    assert options.BRIDGE_ICC == "com.docker.network.bridge.enable_icc"
    assert options.BRIDGE_MASQUERADE == "com.docker.network.bridge.enable_ip_masquerade"
    assert options.BRIDGE_HOST_BINDING == "com.docker.network.bridge.host_binding_ipv4"
    assert options.IFNAME_PREFIX == "com.docker.network.container_iface_prefix"
    assert options.ENDPOINT_IFNAME == "com.docker.network.endpoint.ifname"
