"""What users may write, checked before anything is recorded: all of it becomes a path, a link, a rule, or a line of a
file that programs in the container believe (SEC-22)."""

from __future__ import annotations

import re

from fairlead.discovery import hosts, resolvconf
from fairlead.model import codes, options
from fairlead.model.addresses import parse_address, parse_mac
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Invalid
from fairlead.model.ids import check_link_name, check_name
from fairlead.model.runspec import check_program

#: Longest host name in bytes that Linux takes (HOST_NAME_MAX, gethostname(2)).
HOST_NAME_MAX = 64
#: The name of a capability, with or without its prefix (capabilities(7)); which of them the kernel has, the runtime knows.
_CAPABILITY = re.compile(r"[a-zA-Z][a-zA-Z_]{0,39}")
#: Docker's form of a rule of the device control group (moby: deviceCgroupRuleRegex).
_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")


def check_config(config: ContainerConfig) -> None:
    """Raise ``Invalid`` for the first part of a container's settings that cannot be."""
    if config.hostname:
        check_name("host", config.hostname)
        if len(config.hostname) > HOST_NAME_MAX:
            raise Invalid(
                f"host name {config.hostname} is longer than {HOST_NAME_MAX} characters", code=codes.NAME_INVALID
            )
    if config.domainname:
        check_name("domain", config.domainname)
    resolvconf.check_servers(config.dns)
    resolvconf.check_search(config.dns_search)
    resolvconf.check_options(config.dns_options)
    for line in hosts.extra_lines(config.extra_hosts, ("0.0.0.0",)):
        check_name("host", line.names[0])
    for request in config.ports:
        if request.host_ip:
            parse_address(request.host_ip, "host address of a published port")
    check_program(config.user, config.working_dir)
    for group in config.powers.group_add:
        check_program(group, "")
    for capability in (*config.powers.cap_add, *config.powers.cap_drop):
        if not _CAPABILITY.fullmatch(capability):
            raise Invalid(f'invalid CapAdd: unknown capability: "{capability[:40]}"', hint="see capabilities(7)")
    for rule in config.powers.device_rules:
        if not _DEVICE_RULE.fullmatch(rule):
            raise Invalid(f"invalid device cgroup rule format: '{rule[:40]}'", hint="write it like c 42:* rmw")
    check_name("network", config.network_mode.removeprefix("container:"))
    for network, settings in config.endpoints.items():
        check_name("network", network.removeprefix("container:"))
        check_settings(settings)


def check_settings(settings: EndpointSettings) -> None:
    """Raise ``Invalid`` for a name in an endpoint's settings that cannot be one."""
    for alias in settings.aliases:
        check_name("alias", alias)
    for link in settings.links:
        for name in link.split(":", 1):
            check_name("link", name.removeprefix("/"))
    for address in filter(None, (settings.ipv4, settings.ipv6, *settings.link_local)):
        parse_address(address)
    if settings.mac:
        parse_mac(settings.mac)
    ifname = settings.driver_opts.get(options.ENDPOINT_IFNAME, "")
    if ifname:
        check_link_name("interface", ifname)
