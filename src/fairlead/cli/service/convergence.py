"""Progress of a service until its tasks are as wanted and stay so, in Docker's words, with what is waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fairlead.api.client import Client
from fairlead.cli.console import record, records, text
from fairlead.cli.service.rows import reason
from fairlead.cli.service.specs import find, tasks_of

#: Seconds between two looks (Docker: 200 ms).
_LOOK_S = 0.2
#: Seconds for which tasks are watched when the service says nothing (swarmkit).
_MONITOR_S = 5.0
_NANO = 1e9
#: Slots that are shown one by one (Docker: maxProgressBars).
_SLOTS_MAX = 20
#: Up one line, and clear to the line's end (ECMA-48 CUU, EL).
_UP, _CLEAR = "\x1b[A", "\x1b[K"
#: States after which nothing more happens by itself: state -> how the error begins.
_STUCK = {"paused": "service update paused: ", "rollback_paused": "service rollback paused: "}
#: States of a task that is on its way or runs, in their order: how far a bar is.
_STEPS = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")


@dataclass(slots=True)
class _Look:
    """One look at a service: how many of its tasks run, what each slot does, and how the update stands."""

    running: int = 0
    wanted: int = 0
    slots: list[str] = field(default_factory=list)
    state: str = ""
    message: str = ""
    monitor_s: float = _MONITOR_S

    @property
    def done(self) -> bool:
        """Whether all tasks run, and nothing is being exchanged."""
        return self.running >= self.wanted and self.state not in ("updating", "rollback_started")


def follow(client: Client, service_id: str, *, quiet: bool) -> int:
    """Show progress until the service is stable; the exit code: 1 when its update failed. Ctrl-C ends the showing only."""
    page = _Page(silent=quiet)
    try:
        return _follow(client, service_id, page)
    except KeyboardInterrupt:
        page.line("Operation continuing in background.")
        page.line(f"Use `fairlead service ps {service_id}` to check progress.")
        return 0


def _follow(client: Client, service_id: str, page: _Page) -> int:
    stable_since = 0.0
    rolled_back = False
    while True:
        look = _look(client, service_id)
        rolled_back = rolled_back or look.state.startswith("rollback")
        if look.state in _STUCK:
            print(f"{_STUCK[look.state]}{look.message}", file=sys.stderr)
            return 1
        now = time.monotonic()
        stable_since = (stable_since or now) if look.done else 0.0
        left = look.monitor_s - (now - stable_since) if stable_since else 0.0
        lines = _words(look, rolled_back=rolled_back)
        if stable_since and left > 0:
            page.show([*lines, f"verify: Waiting {left + 0.5:.0f} seconds to verify that tasks are stable..."])
        elif stable_since:
            page.show([*lines, f"verify: Service {service_id} converged"])
            if rolled_back and look.message:
                print(f"service rolled back: {look.message}", file=sys.stderr)
            return 0
        else:
            page.show(lines)
        time.sleep(_LOOK_S)


def _words(look: _Look, *, rolled_back: bool) -> list[str]:
    head = f"rollback: {look.message}" if rolled_back and look.message else ""
    lines = [head] if head else []
    return [*lines, f"overall progress: {look.running} out of {look.wanted} tasks", *look.slots[:_SLOTS_MAX]]


def _look(client: Client, service_id: str) -> _Look:
    service = find(client, service_id)
    spec, status = record(service.get("Spec")), record(service.get("UpdateStatus"))
    state = text(status.get("State"))
    rule = record(spec.get("RollbackConfig" if state.startswith("rollback") else "UpdateConfig"))
    monitor = rule.get("Monitor")
    mode = record(spec.get("Mode"))
    nodes = records(client.get("/nodes"))
    alive = {text(node.get("ID")) for node in nodes if record(node.get("Status")).get("State") != "down"}
    newest = _newest(tasks_of(client, service_id, {"_up-to-date": ["true"]}))
    if "Global" in mode:
        able = [text(node.get("ID")) for node in nodes if record(node.get("Spec")).get("Availability") == "active"]
        wanted = len([node for node in able if node in alive and (node in newest or not newest)])
        names = {text(node.get("ID")): text(record(node.get("Description")).get("Hostname")) for node in nodes}
    else:
        wanted = int(text(record(mode.get("Replicated")).get("Replicas")) or "0")
        names = {str(slot): f"{slot}/{wanted}" for slot in range(1, wanted + 1)}
        newest = {slot: task for slot, task in newest.items() if slot in names}
    running = sum(_runs(task, alive) for task in newest.values())
    slots = [f"{names.get(slot, slot)}: {_state(newest.get(slot))}" for slot in (names if wanted else ())]
    monitor_s = int(text(monitor)) / _NANO if monitor else _MONITOR_S
    return _Look(running, wanted, slots, state, text(status.get("Message")), monitor_s)


def _newest(tasks: Iterable[dict[str, object]]) -> dict[str, Mapping[str, object]]:
    """The task that counts in each slot, or on each node: the newest of those that are to run."""
    found: dict[str, Mapping[str, object]] = {}
    for task in sorted(tasks, key=lambda item: text(item.get("CreatedAt"))):
        if task.get("DesiredState") in ("running", "ready"):
            found[text(task.get("Slot")) or text(task.get("NodeID"))] = task
    return found


def _runs(task: Mapping[str, object], alive: set[str]) -> bool:
    running = record(task.get("Status")).get("State") == "running"
    return running and text(task.get("NodeID")) in alive and task.get("DesiredState") == "running"


def _state(task: Mapping[str, object] | None) -> str:
    """What a slot does, with what it waits for."""
    if task is None:
        return ""
    state = text(record(task.get("Status")).get("State"))
    words = reason(task)
    bar = ""
    if state in _STEPS:
        done = _STEPS.index(state) + 1
        bar = f"[{'=' * (done - 1)}>{' ' * (len(_STEPS) - done)}] "
    return f"{words or state}" if words else f"{state:<10}{bar}".rstrip()


class _Page:
    """Lines that are drawn over themselves on a terminal; elsewhere a line is written when the sum changes."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._height = 0
        self._shown: list[str] = []
        self._terminal = sys.stdout.isatty()

    def show(self, lines: list[str]) -> None:
        """The page as it is now."""
        if self._silent or lines == self._shown:
            return
        if self._terminal:
            sys.stdout.write(_UP * self._height + "".join(f"\r{line}{_CLEAR}\n" for line in lines))
            more = self._height - len(lines)
            sys.stdout.write(f"\r{_CLEAR}\n" * max(0, more) + _UP * max(0, more))
            self._height = len(lines)
        else:
            known = {line for line in self._shown if not line.startswith("verify: Waiting")}
            for line in lines:
                waits = line.startswith("verify: Waiting") and any(old.startswith("verify: W") for old in self._shown)
                if line not in known and not waits:
                    sys.stdout.write(f"{line}\n")
        self._shown = lines
        sys.stdout.flush()

    def line(self, words: str) -> None:
        """A last word."""
        if not self._silent:
            print(words, flush=True)
