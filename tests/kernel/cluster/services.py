"""Services on lab hosts, and what must hold of their tasks whatever happens."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernel.cluster.bed import SEA, Cluster
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError, quote

#: Seconds a service may take until it is as wanted, on a laden machine.
SETTLED_S = 120.0
_SECOND_NS = 1_000_000_000
#: Runs as process 1, ends at once when asked to, and has a child that must not outlive it.
WAIT = ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done")
#: Answers TCP on 7000 with its host name. ``argv[1:]``: a file without which it does not begin to listen, empty for none;
#: seconds in which nobody may have come before it ends after it was told to.
_SERVE = """
import os, select, signal, socket, sys, time
gate, linger = sys.argv[1], float(sys.argv[2])
ending, quiet = [], 0.0
signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
while gate and not ending and not os.path.exists(gate):
    time.sleep(0.05)
listener = socket.create_server(("", 7000), backlog=128)
while not ending or quiet < linger:
    if not select.select([listener], [], [], 0.05)[0]:
        quiet += 0.05 if ending else 0.0
        continue
    quiet = 0.0
    client, _ = listener.accept()
    with client:
        try:
            client.settimeout(5)
            client.sendall(os.uname().nodename.encode())
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass  # a close with unread words would reset the connection
        except OSError:
            pass  # whoever asked has gone
"""


def serve(gate: str = "", linger_s: float = 0.0) -> tuple[str, ...]:
    """A command that answers on port 7000."""
    return ("/usr/bin/python3", "-c", _SERVE, gate, str(linger_s))


#: Asks such a server for its health, often; a busy machine makes nobody ill.
HEALTH = {
    "Test": ["CMD", "/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7000"],
    "Interval": 300_000_000,
    "Timeout": 30 * _SECOND_NS,
    "Retries": 3,
    "StartPeriod": 120 * _SECOND_NS,
    "StartInterval": 300_000_000,
}


def spec(name: str, command: Iterable[str] = WAIT, replicas: int = 1, **more: Any) -> dict[str, Any]:
    """A service as the API takes it. ``more``: ``Networks``, ``UpdateConfig``, ``container`` (keys of ContainerSpec),
    ``restart`` (RestartPolicy), ``placement``, ``endpoint`` (EndpointSpec), ``rollback``."""
    words = {"Image": "host", "Command": list(command), **more.get("container", {})}
    task = {
        "ContainerSpec": words,
        "Networks": [{"Target": SEA, **more.get("network", {})}],
        "RestartPolicy": {"Condition": "any", "Delay": 100_000_000, **more.get("restart", {})},
        "Placement": more.get("placement", {}),
    }
    return {
        "Name": name,
        "TaskTemplate": task,
        "Mode": {"Replicated": {"Replicas": replicas}},
        "UpdateConfig": update(**more.get("update", {})),
        "RollbackConfig": update(**more.get("rollback", {})),
        "EndpointSpec": more.get("endpoint", {}),
    }


def update(parallelism: int = 1, action: str = "pause", monitor_s: float = 0.5, **more: Any) -> dict[str, Any]:
    """How tasks are exchanged; ``more`` has further keys of Docker's."""
    monitor_ns = int(monitor_s * _SECOND_NS)
    return {"Parallelism": parallelism, "FailureAction": action, "Monitor": monitor_ns, **more}


@dataclass(frozen=True)
class Held:
    """A container of a task that runs on a host: what its daemon says."""

    host: str
    container: str
    service: str
    task: str
    address: str


class Fleet(Cluster):
    """A cluster with services; its daemons may be away."""

    def create(self, wanted: dict[str, Any]) -> str:
        """Create a service; its id."""
        made: Any = self.api("h1").post("/services/create", wanted)
        return str(made["ID"])

    def service(self, name: str) -> dict[str, Any]:
        """All about a service."""
        found: Any = self.api("h1").get(f"/services/{name}")
        return dict(found)

    def change(self, name: str, wanted: Mapping[str, Any] | None = None, *, rollback: bool = False) -> None:
        """Give a service another spec, or its previous one."""
        known = self.service(name)
        query: dict[str, Any] = {"version": known["Version"]["Index"]}
        if rollback:
            query["rollback"] = "previous"
        self.api("h1").post(f"/services/{known['ID']}/update", wanted or known["Spec"], query)

    def scale(self, name: str, replicas: int) -> None:
        """Change the number of tasks."""
        wanted = self.service(name)["Spec"]
        wanted["Mode"]["Replicated"]["Replicas"] = replicas
        self.change(name, wanted)

    def remove_service(self, name: str) -> None:
        """Remove a service, and wait until its containers are gone."""
        self.api("h1").delete(f"/services/{name}")
        until(lambda: not [held for held in self.held() if held.service == name], f"{name} is gone", SETTLED_S)

    def tasks(self, *names: str) -> list[dict[str, Any]]:
        """The tasks of services, of all when none is named."""
        query = {"filters": json.dumps({"service": list(names)})} if names else None
        found: Any = self.api("h1").get("/tasks", query)
        return list(found)

    def wanted(self, *names: str) -> list[dict[str, Any]]:
        """Those that are to run."""
        return [task for task in self.tasks(*names) if task["DesiredState"] in ("running", "ready")]

    def settled(self, name: str, replicas: int, patience_s: float = SETTLED_S, state: str = "") -> list[dict[str, Any]]:
        """Wait until exactly the slots 1 to ``replicas`` run, and an update is in ``state``; the tasks."""

        def found() -> list[dict[str, Any]]:
            tasks = self.wanted(name)
            runs = [task for task in tasks if task["Status"]["State"] == "running"]
            seen = self.service(name).get("UpdateStatus", {}).get("State", "") if state else ""
            right = len(tasks) == len(runs) == replicas == len({task["Slot"] for task in tasks})
            return tasks if right and seen == state else []

        if replicas == 0:
            until(lambda: not self.wanted(name), f"{name} has no task", patience_s)
            return []
        try:
            return until(found, f"{name} has {replicas} running tasks {state}", patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told(name)}") from None

    def told(self, *names: str) -> str:
        """One line for each task, for a failure's text."""
        lines = []
        for task in sorted(self.tasks(*names), key=lambda task: (task["ServiceID"], task.get("Slot", 0))):
            status = task["Status"]
            words = (task.get("Slot"), task["ID"], task.get("NodeID"), task["DesiredState"], status["State"])
            lines.append(f"{words} {status.get('Message')} {status.get('Err', '')}")
        for name in names:
            lines.append(str(self.service(name).get("UpdateStatus")))
        return "\n".join(lines)

    def addresses(self, tasks: Iterable[Mapping[str, Any]]) -> set[str]:
        """The addresses of tasks in the network."""
        return {
            address.partition("/")[0]
            for task in tasks
            for attachment in task.get("NetworksAttachments") or ()
            for address in attachment["Addresses"]
        }

    def held(self, *hosts: str, every: bool = False) -> list[Held]:
        """The containers of tasks that run (``every``: that are there) on hosts; of a daemon that is away, none."""
        found = []
        query = {"filters": json.dumps({"label": ["com.docker.swarm.task.id"]}), "all": every}
        for host in hosts or self.hosts:
            try:
                containers: Any = self.api(host).get("/containers/json", query)
            except (ApiError, OSError):
                continue
            for one in containers:
                labels = one["Labels"]
                networks = one["NetworkSettings"]["Networks"]
                address = networks[SEA]["IPAddress"] if SEA in networks else ""
                service, task = (labels[f"com.docker.swarm.{what}"] for what in ("service.name", "task.id"))
                found.append(Held(host, one["Id"], service, task, address))
        return found

    def logs_of(self, task: Mapping[str, Any]) -> str:
        """What a task wrote, told by its own host."""
        place = task["Status"]["ContainerStatus"]["ContainerID"]
        with self.api(self.where(task)).open("GET", f"/containers/{place}/logs", {"stdout": True}) as reply:
            return b"".join(data for _, data in reply.frames()).decode()

    def kill_task(self, task: Mapping[str, Any]) -> None:
        """Its process dies, as if by itself."""
        os.kill(task["Status"]["ContainerStatus"]["PID"], signal.SIGKILL)

    def where(self, task: Mapping[str, Any]) -> str:
        """The host of a task."""
        node: Any = self.api("h1").get(f"/nodes/{quote(task['NodeID'])}")
        return str(node["Description"]["Hostname"])

    def faults(self, replicas: Mapping[str, int]) -> list[str]:
        """What is not as wanted: services by name with the number of their tasks. Empty when all is well: each slot has
        one running task, each running task one container, no other container runs, each address has one holder."""
        remembered = self.tasks()
        tasks = [task for task in remembered if task["DesiredState"] in ("running", "ready")]
        wrong = duplicate_slots(tasks)
        for name, count in replicas.items():
            ids = {task["ID"] for task in tasks if task["Spec"]["ContainerSpec"]["Labels"]["of"] == name}
            running = [task for task in tasks if task["ID"] in ids and task["Status"]["State"] == "running"]
            slots = {task["Slot"] for task in running}
            if len(running) != count or len(ids) != count or len(slots) != count:
                wrong.append(f"{name}: {len(running)} tasks run, {len(ids)} are to, in {len(slots)} slots of {count}")
        held = self.held()
        ids = {task["ID"] for task in remembered}
        wrong += [f"{one} is of no task" for one in self.held(every=True) if one.task not in ids]
        there, known = Counter(one.task for one in held), {task["ID"] for task in tasks}
        wrong += [f"task {task} has {number} containers" for task, number in there.items() if number != 1]
        wrong += [f"a container of {task}, which is not to run" for task in there.keys() - known]
        wrong += [f"{task} has no container" for task in known - there.keys()]
        leased = {task["ID"]: self.addresses([task]) for task in tasks}
        wrong += [f"{one} has not the task's address" for one in held if one.address not in leased.get(one.task, {""})]
        wrong += [f"{address} is held by {number}" for address, number in holders(held).items() if number > 1]
        return wrong


def duplicate_slots(tasks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Slots for which two tasks are to run at once; one that waits for the other's end is none."""
    counted = Counter(
        (task["ServiceID"], task["Slot"])
        for task in tasks
        if task["DesiredState"] == "running" and task["Status"]["State"] not in ("complete", "failed", "shutdown")
    )
    return [f"slot {slot} of {service} twice" for (service, slot), number in counted.items() if number > 1]


def holders(held: Iterable[Held]) -> Counter[str]:
    """How many containers have each address."""
    return Counter(one.address for one in held if one.address)


def processes(marker: str) -> dict[str, set[int]]:
    """Processes that have ``marker`` in their environment, by their process namespace."""
    found: dict[str, set[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if marker.encode() in (folder / "environ").read_bytes():
                found.setdefault(os.readlink(folder / "ns/pid"), set()).add(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


def keepers(folder: str) -> int:
    """How many programs that keep a container run for hosts whose files are below ``folder``."""
    number = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        number += Path(os.fsdecode(words[0])).name == "conmon" and any(folder.encode() in word for word in words)
    return number
