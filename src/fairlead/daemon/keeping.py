"""Namespaces given to the service manager to keep: where the daemon has a mount namespace of its own (a hardened unit),
what it binds under its run directory ends with it, and the kept descriptor is what a namespace is found by again."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fairlead.daemon.service import ServiceManager
from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel
from fairlead.plan.objects import Netns, Plan

_PREFIX = "ns."


class KeepingKernel:
    """``contract.Kernel`` that has the namespaces of sandboxes kept from when they stand until they are gone."""

    def __init__(self, kernel: Kernel, service: ServiceManager, netns_dir: str) -> None:
        self._kernel = kernel
        self._service = service
        self._netns_dir = netns_dir
        self._kept: dict[str, str] = {}
        self._found: set[str] = set()

    def find_again(self) -> None:
        """Put namespaces that were kept, and whose files hold none any more, back under their names; before repair."""
        for entry in self._service.kept(_PREFIX):
            name = entry.removeprefix(_PREFIX)
            path = f"{self._netns_dir}/{name}"
            self._found.add(name)
            for descriptor in self._service.take(entry):
                if not netns.is_namespace(path):
                    netns.bind(path, descriptor)
                os.close(descriptor)

    async def apply(self, plans: Mapping[str, Plan]) -> None:
        """As ``Kernel.apply``."""
        await self._kernel.apply(plans)
        self.note(plans)

    async def repair(self, plans: Mapping[str, Plan]) -> list[str]:
        """As ``Kernel.repair``."""
        words = await self._kernel.repair(plans)
        self.note(plans)
        return words

    def note(self, plans: Mapping[str, Plan]) -> None:
        """These plans stand."""
        if not self._service.keeps:
            return
        for owner, plan in plans.items():
            name = next((item.name for item in plan.values() if isinstance(item, Netns)), "")
            before = self._kept.get(owner, "")
            if before and before != name:
                del self._kept[owner]
                self._service.drop(_PREFIX + before)
            if name and name != before:
                self._kept[owner] = name
                self._keep(name)

    def drop_rest(self) -> None:
        """Let go what was kept before this start for sandboxes that are no more; after their plans were noted."""
        for name in self._found:
            self._service.drop(_PREFIX + name)
        self._found.clear()

    def _keep(self, name: str) -> None:
        if name in self._found:
            self._found.discard(name)
            return
        descriptor = os.open(f"{self._netns_dir}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._service.keep(_PREFIX + name, descriptor)
        finally:
            os.close(descriptor)
