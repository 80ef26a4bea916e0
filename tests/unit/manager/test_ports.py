"""Published ports: chosen, kept, refused."""

from __future__ import annotations

import pytest

from fairlead.manager.ports import PublishedPorts
from fairlead.model.errors import Exhausted, Invalid
from fairlead.model.service import HOST, ServicePort


def test_a_port_is_chosen_from_the_dynamic_range_and_kept_over_an_update() -> None:
    ports, (web,) = PublishedPorts().publish("web", [ServicePort(80)])
    assert web.published == 30000
    ports, (api,) = ports.publish("api", [ServicePort(80)])
    assert api.published == 30001
    ports, again = ports.publish("web", [ServicePort(443), ServicePort(80)], [web])
    assert [one.published for one in again] == [30002, 30000]


def test_a_chosen_port_is_never_one_that_the_same_service_names() -> None:
    _, chosen = PublishedPorts().publish("web", [ServicePort(80), ServicePort(81, 30000)])
    assert [one.published for one in chosen] == [30001, 30000]


def test_protocols_do_not_meet() -> None:
    ports, _ = PublishedPorts().publish("dns", [ServicePort(53, 53, "udp")])
    ports, (tcp,) = ports.publish("other", [ServicePort(53, 53, "tcp")])
    assert tcp.published == 53


def test_an_ingress_port_is_one_services() -> None:
    ports, _ = PublishedPorts().publish("web", [ServicePort(80, 8080)])
    with pytest.raises(Invalid) as refused:
        ports.publish("api", [ServicePort(80, 8080)])
    assert str(refused.value).endswith("port '8080' is already in use by service 'web' as an ingress port")
    with pytest.raises(Invalid):
        ports.publish("api", [ServicePort(80, 8080, mode=HOST)])


def test_host_ports_are_shared_but_not_with_ingress() -> None:
    ports, web = PublishedPorts().publish("web", [ServicePort(80, 8080, mode=HOST)])
    ports, _ = ports.publish("api", [ServicePort(80, 8080, mode=HOST)])
    with pytest.raises(Invalid) as refused:
        ports.publish("third", [ServicePort(80, 8080)])
    assert "as a host-published port" in str(refused.value)
    ports = ports.withdraw("web", web)
    with pytest.raises(Invalid):
        ports.publish("third", [ServicePort(80, 8080)])


def test_a_withdrawn_port_is_free() -> None:
    ports, web = PublishedPorts().publish("web", [ServicePort(80, 8080)])
    ports, (api,) = ports.withdraw("web", web).publish("api", [ServicePort(80, 8080)])
    assert api.published == 8080


def test_when_all_dynamic_ports_are_taken_it_says_so() -> None:
    wanted = [ServicePort(port) for port in range(1, 2769)]
    ports, chosen = PublishedPorts().publish("all", wanted)
    assert {one.published for one in chosen} == set(range(30000, 32768))
    with pytest.raises(Exhausted):
        ports.publish("more", [ServicePort(80)])
