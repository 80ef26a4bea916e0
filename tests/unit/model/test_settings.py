from __future__ import annotations

from ipaddress import ip_network

from fairlead.model.settings import DEFAULT_POOLS_V4, EngineSettings, Paths


def test_dockers_default_pools_make_thirty_one_networks():
    networks = [sub for base, size in DEFAULT_POOLS_V4 for sub in ip_network(base).subnets(new_prefix=size)]
    assert len(networks) == 31
    assert len(set(networks)) == 31
    assert str(networks[0]) == "172.17.0.0/16"


def test_paths_hang_from_two_directories():
    paths = Paths(state="/s", run="/r")
    assert paths.socket == "/r/fairlead.sock"
    assert paths.netns == "/r/netns"
    assert (paths.containers, paths.images) == ("/s/containers", "/s/images")
    assert Paths() == Paths("/var/lib/fairlead", "/run/fairlead")


def test_engine_settings_need_only_a_host_name():
    settings = EngineSettings("h1")
    assert (settings.default_pools, settings.default_bridge, settings.mtu) == ((), "fairlead0", 1500)
    assert settings.quarantine_s > 0
    assert len(settings.default_bridge) <= 15, "a Linux device name has at most 15 characters"
