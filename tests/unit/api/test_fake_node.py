"""The fake node keeps the few of Docker's rules that the API's tests lean on."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.api.fake_node import FakeNode

from fairlead.model.commands import (
    AlreadyThere,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    RemoveNetwork,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import Container, ContainerConfig
from fairlead.model.errors import Conflict, Forbidden, NotFound


def test_life_of_networks_and_containers() -> None:
    async def story() -> None:
        node = FakeNode()
        await node.submit(CreateNetwork("web"))
        with pytest.raises(Conflict):
            await node.submit(CreateNetwork("web"))
        container = await node.submit(CreateContainer("c1", ContainerConfig(image="host", network_mode="web")))
        assert isinstance(container, Container)
        await node.submit(StartContainer("c1"))
        assert isinstance(await node.submit(StartContainer("c1")), AlreadyThere)
        with pytest.raises(Forbidden):
            await node.submit(RemoveNetwork("web"))
        await node.submit(StopContainer("c1"))
        assert await node.wait(container.id, "not-running") == 143
        await node.submit(ConnectNetwork("bridge", "c1"))
        assert "bridge" in node.state.container("c1").config.endpoints
        await node.submit(RemoveNetwork("web"))
        with pytest.raises(NotFound):
            node.state.network("web")

    asyncio.run(story())
