"""The API of a living daemon under requests made out of its own OpenAPI description, valid, nearly valid and invalid.

    python -m tests.fuzz.api --minutes 10

Held against every answer: no 500 but those that Docker gives too, no answer that takes too long, a sentence with every
refusal. Held against the daemon in the end: it is the same process, and has no more descriptors, links, namespaces,
rules and memory than before.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from tests.fuzz.wire import session
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError
from fairlead.api.openapi import PATH

#: Seconds that any answer may take, and that the answer of a call that follows something is listened to.
ANSWER_S, LISTEN_S = 60.0, 0.3
#: Growth of memory (bytes) that is no leak: allocator pools, caches of names and parsed patterns.
GROWTH_BYTES_MAX = 48 * 1024 * 1024
#: Containers that are there for requests to meet. They end at once when they are asked to.
POLITE = ("sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 1000 & wait; done")
#: Answers of 500 that Docker gives to the same request, and why.
DOCKERS_OWN = {
    r"is not connected to network": "disconnect of a running container",
    r"invalid filter: 'type'='": "an unknown type among network filters",
    r"cannot join own network namespace": "container:ref of oneself",
    r"port is already allocated|address already in use": "the endpoint path wraps it",
    r"OCI runtime|runc|failed to start|cannot start|exec failed|mount": "the runtime refused what was asked to run",
}


@dataclass
class Tally:
    """What was sent and what came back."""

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    #: Answers of 500 that Docker gives too, by the reason.
    excused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Footprint:
    """What a daemon holds."""

    descriptors: int
    links: frozenset[str]
    namespaces: frozenset[str]
    rules: int
    memory_bytes: int

    @classmethod
    def of(cls, host: Host) -> Footprint:
        """Now."""
        status = Path(f"/proc/{host.pid}/status").read_text()
        return cls(
            descriptors=len(list(Path(f"/proc/{host.pid}/fd").iterdir())),
            links=frozenset(host.links()),
            namespaces=frozenset(path.name for path in (host.run_dir / "netns").iterdir()),
            rules=len(host.ruleset().splitlines()),
            memory_bytes=int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024,  # type: ignore[index]
        )

    def more_than(self, before: Footprint) -> list[str]:
        """What has grown, in words."""
        grown = [f"link {name}" for name in self.links - before.links]
        grown += [f"namespace {name}" for name in self.namespaces - before.namespaces]
        if self.descriptors > before.descriptors:
            grown.append(f"descriptors: {before.descriptors} -> {self.descriptors}")
        if self.rules > before.rules:
            grown.append(f"lines of rules: {before.rules} -> {self.rules}")
        if self.memory_bytes - before.memory_bytes > GROWTH_BYTES_MAX:
            grown.append(f"memory: {before.memory_bytes >> 20} -> {self.memory_bytes >> 20} MiB")
        return grown


class Fuzzer:
    """Sends requests to one daemon."""

    def __init__(self, host: Host, chance: random.Random) -> None:
        self._host = host
        self._chance = chance
        self._session = session(host.url.removeprefix("unix://"), ANSWER_S)
        self.tally = Tally()
        self._names: list[str] = []
        schema = schemathesis.openapi.from_dict(host.get(PATH))
        self._operations = [result.ok() for result in schema.get_all_operations()]

    def round(self, examples: int, deadline: float) -> None:
        """Every operation once, with so many examples each, in an order of chance, until ``deadline`` (monotonic)."""
        self._stage()
        for operation in self._chance.sample(self._operations, len(self._operations)):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if time.monotonic() > deadline:
                    return
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    self._try(strategy, examples)
                except (schemathesis.errors.SchemathesisError, Unsatisfiable):
                    continue  # an operation without anything that could be wrong
        self.clear()

    def _try(self, strategy: Any, examples: int) -> None:
        names = st.sampled_from([*self._names, ""])

        @seed(self._chance.getrandbits(64))
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy, path_name=names, body_name=names)
        def send(case: Case, path_name: str, body_name: str) -> None:
            self._send(case, path_name, body_name)

        send()

    def _send(self, case: Case, path_name: str, body_name: str) -> None:
        self._aim(case, path_name, body_name)
        label = f"{case.method} {case.path}"
        self.tally.sent[label] += 1
        stream = _follows(case)
        begun = time.monotonic()
        try:
            kwargs = case.as_transport_kwargs(base_url="http://fairlead")
            with self._session.request(**kwargs, stream=True, timeout=LISTEN_S if stream else ANSWER_S) as answer:
                body = b"" if stream and answer.ok else _read(answer, begun + ANSWER_S)
        except requests.exceptions.InvalidHeader:
            return
        except requests.exceptions.RequestException as error:
            if not stream:
                self._fault(case, f"no answer after {time.monotonic() - begun:.1f} s: {error}")
            return
        self.tally.statuses[answer.status_code] += 1
        self._judge(case, answer.status_code, body)

    def _judge(self, case: Case, status: int, body: bytes) -> None:
        if status < 400 or case.method == "HEAD":
            return
        try:
            said = json.loads(body)
            message = str(said["message"])
        except (ValueError, KeyError, TypeError):
            if status != 400:  # what is no HTTP is refused before it is a request of ours
                self._fault(case, f"{status} without a sentence: {body[:200]!r}")
            return
        if status == 500:
            reason = next((why for pattern, why in DOCKERS_OWN.items() if re.search(pattern, message)), "")
            if reason:
                self.tally.excused[f"{reason}: {message.splitlines()[0][:100]}"] += 1
            else:
                self._fault(case, f"500: {message}")

    def _fault(self, case: Case, what: str) -> None:
        self.tally.faults.append(f"{what}\n    {case.as_curl_command()}"[:2000])

    def _aim(self, case: Case, path_name: str, body_name: str) -> None:
        """Let a request meet something that is there, most of the time, and keep it from waiting for long."""
        if path_name and case.path_parameters:
            case.path_parameters = dict.fromkeys(case.path_parameters, path_name)
        if isinstance(case.query, dict):
            for key in ("t", "until"):
                if key in case.query:
                    case.query[key] = "1"
        if body_name and isinstance(case.body, dict):
            for key, value in (("Container", body_name), ("Image", "host")):
                if key in case.body:
                    case.body[key] = value
            settings_of_host = case.body.get("HostConfig")
            if isinstance(settings_of_host, dict):
                settings_of_host["NetworkMode"] = body_name
                settings_of_host["Privileged"] = False
                # what would be made or bound on the machine itself stays out
                for key in ("Binds", "Mounts", "Devices", "VolumesFrom"):
                    settings_of_host.pop(key, None)

    def _stage(self) -> None:
        """Networks and containers for requests to meet."""
        self.clear()
        for number in (1, 2):
            self._host.network(f"net{number}", subnet=f"10.9{number}.0.0/24")
        containers = [self._host.run("runs", POLITE, network="net1"), self._host.create("still", network="net2")]
        containers.append(self._host.run("on-bridge", POLITE))
        self._names = ["net1", "net2", "runs", "still", "on-bridge", "bridge", "host", "none"]
        self._names += [container.id for container in containers]

    def clear(self) -> None:
        """Remove every container, network and volume that requests have made."""
        for row in self._host.get("/containers/json?all=1"):
            self._host.containers.add(row["Id"])
            self._gone(f"/containers/{row['Id']}?force=1&v=1")
        for row in self._host.get("/networks"):
            if row["Name"] not in ("bridge", "host", "none"):
                self._gone(f"/networks/{row['Id']}")
        for row in self._host.get("/volumes")["Volumes"]:
            self._gone(f"/volumes/{row['Name']}?force=1")

    def _gone(self, path: str) -> None:
        try:
            self._host.api.delete(path)
        except ApiError as error:
            if error.status != 404:
                raise


def _read(answer: requests.Response, deadline: float) -> bytes:
    """An answer to its end, which must come before ``deadline`` (monotonic)."""
    pieces = []
    for piece in answer.iter_content(None):
        pieces.append(piece)
        if time.monotonic() > deadline:
            raise requests.exceptions.ReadTimeout("it goes on and on")
    return b"".join(pieces)


def _follows(case: Case) -> bool:
    """Whether the answer may last as long as the client listens."""
    definition = case.operation.definition.raw
    return bool(definition.get("x-endless"))


@contextmanager
def burdened(host: Host) -> Iterator[None]:
    """Fail with what the daemon holds more of afterwards, or if it is another process or none."""
    pid, before = host.pid, Footprint.of(host)
    yield
    assert host.process is not None
    assert host.process.poll() is None, f"the daemon ended:\n{host.tail()}"
    assert host.pid == pid
    now = lambda: not Footprint.of(host).more_than(before)  # noqa: E731 # a condition
    try:
        until(now, "the daemon to let go of everything")
    except AssertionError:
        raise AssertionError(f"leaked: {Footprint.of(host).more_than(before)}") from None


def fuzz(host: Host, seconds: float, examples: int, number: int) -> Tally:
    """Send requests for so long; what was sent and what was wrong. ``number`` is the seed."""
    fuzzer = Fuzzer(host, random.Random(number))
    fuzzer.round(1, time.monotonic() + seconds / 4)  # what is made once and kept is made now
    fuzzer.clear()
    deadline = time.monotonic() + seconds
    with burdened(host):
        while time.monotonic() < deadline:
            fuzzer.round(examples, deadline)
        fuzzer.clear()
    return fuzzer.tally


def main() -> int:
    """Fuzz a daemon of its own in this network namespace."""
    parser = argparse.ArgumentParser(prog="run fuzz api", description="Fuzz the API of a daemon of its own.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.minutes:g} minutes", flush=True)
    host = Host(Path(tempfile.mkdtemp(prefix="fx-fuzz-")))
    left: list[str] = []
    try:
        host.start()
        tally = fuzz(host, asked.minutes * 60, 20, asked.seed)
    finally:
        log = host.log.read_text(errors="replace") if host.log.exists() else ""
        left = host.close()
    for line in (*dict.fromkeys(tally.faults), *left):
        print(line)
    for status, count in sorted(tally.statuses.items()):
        print(f"{status}: {count}")
    for reason, count in tally.excused.items():
        print(f"  500 as Docker's, {count} times: {reason}")
    inside = log.count("Traceback")
    print(f"{sum(tally.sent.values())} requests, {len(tally.faults)} faults, {inside} tracebacks in the log")
    if inside:
        print(log[log.index("Traceback") - 200 :][:4000])
    return 1 if tally.faults or left or inside else 0


if __name__ == "__main__":
    sys.exit(main())
