"""A node for overlay tests: an assembly in a process of its own, told what to do through a socket.

Arguments: folder, data path address. What managers and gossip would say comes as events, what they would be told is kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from fairlead.daemon.assembly import Assembly, NodeOptions, assemble
from fairlead.daemon.cluster import datapath, keepsake
from fairlead.daemon.foreign import ForeignTargets
from fairlead.engine.outcome import Message
from fairlead.model.errors import NetError
from fairlead.model.events import DataPath
from fairlead.model.settings import Paths
from fairlead.runtime.foreign import ForeignEngines

#: Fault points at which this process ends.
armed: set[str] = set()


def reach(point: str) -> None:
    if point in armed:
        os.kill(os.getpid(), signal.SIGKILL)


class Told:
    """What the node said to the others."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def tell(self, message: Any) -> None:
        self.messages.append(message)


async def answer(node: Assembly, told: Told, what: str, subject: Any) -> object:
    if what == "submit":
        targets = ForeignTargets(node.kernel, ForeignEngines())
        return await node.carrier.submit(await targets.complete(subject))
    if what == "feed":
        return await node.carrier.feed(subject)
    if what == "told":
        said, told.messages = told.messages, []
        return said
    if what == "leases":
        return list(node.engine.state.leases.values())
    if what == "endpoints":
        return list(node.engine.state.endpoints.values())
    if what == "plans":
        return node.engine.plans()
    if what == "fault":
        armed.add(subject)
        return None
    if what == "ipsec":
        return await (node.kernel.ipsec.stands() if subject == "stands" else node.kernel.ipsec.mend())
    if what == "standing":
        return list((await node.kernel.observe()).values())
    raise ValueError(what)


def serve(loop: asyncio.AbstractEventLoop, node: Assembly, told: Told, connection: Connection) -> None:
    while True:
        try:
            what, subject = connection.recv()
        except EOFError:
            return
        try:
            reply = asyncio.run_coroutine_threadsafe(answer(node, told, what, subject), loop).result()
        except NetError as error:
            connection.send((type(error).__name__, error.message, error.hint))
        except Exception as error:  # noqa: BLE001  (the test shall see it)
            connection.send(("Fault", repr(error), ""))
        else:
            connection.send(("", reply, ""))


async def main(folder: Path, address: str) -> None:
    paths = Paths(str(folder / "state"), str(folder / "run"))
    keepsake.write_value(Path(paths.state) / "swarm" / datapath.PATH_FILE, DataPath(address))
    resolv_conf = folder / "resolv.conf"
    resolv_conf.write_text("nameserver 192.0.2.53\n")
    told = Told()
    async with assemble(NodeOptions(paths, resolv_conf=str(resolv_conf)), reach=reach) as node:
        node.carrier.gossip = told
        door = folder / "door"
        door.unlink(missing_ok=True)
        with Listener(str(door)) as listener:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()

            def accept() -> None:
                with listener.accept() as connection:
                    serve(loop, node, told, connection)
                loop.call_soon_threadsafe(ended.set)

            threading.Thread(target=accept, daemon=True).start()
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
