"""Run a command in network and mount namespaces of its own, and check that it leaves nothing behind.

    python tests/enclosure.py COMMAND [ARGUMENT...]

The command sees an empty network (``lo`` up) and a fresh ``/run``; the machine's own network namespace stays exactly
as it was. This process stays outside: it compares the machine before and after, and as the reaper of every orphan it
sees processes that outlive the command. A difference or a survivor is printed and makes the exit code 1.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

#: Seconds for the kernel to finish what it does in the background after the last process is gone (namespaces and
#: their links die asynchronously, about 50 ms each in bulk), and for dying processes to be reaped. Only what is left
#: behind for good takes as long; who leaves something on purpose need not wait.
SETTLE_S_MAX = float(os.environ.get("FAIRLEAD_SETTLE_S", "60"))
SETTLE_STEP_S = 0.1
#: Seconds until what is killed is gone.
DEATH_S_MAX = 60.0

#: What is stable about a link, an address, a route. Counters and life times are not.
LINK_KEYS = ("ifname", "flags", "mtu", "master", "address", "ifalias", "link_netnsid")
ADDRESS_KEYS = ("family", "local", "prefixlen", "scope")
ROUTE_KEYS = ("type", "dst", "gateway", "dev", "protocol", "metric", "table", "prefsrc")
SYSCTLS = "ipv4/ip_forward", "ipv4/conf/*/*", "ipv6/conf/*/forwarding", "ipv6/conf/*/disable_ipv6", "bridge/*"

ENTER = """
set -e
resolver=$(readlink -f /etc/resolv.conf || true)
text=$(cat "$resolver" 2>/dev/null || true)
mount -t tmpfs -o mode=755 tmpfs /run
case $resolver in /run/*) mkdir -p "${resolver%/*}"; printf '%s\\n' "$text" >"$resolver";; esac
ip link set lo up
exec "$@"
"""


def _output(*command: str) -> str:
    """Standard output of a command; empty if the program is missing or refuses."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _rows(text: str, keys: Iterable[str]) -> set[str]:
    return {json.dumps({key: row.get(key) for key in keys}) for row in json.loads(text or "[]")}


def _addresses() -> set[str]:
    found = set()
    for link in json.loads(_output("ip", "-j", "address") or "[]"):
        for item in link.get("addr_info", ()):
            found.add(json.dumps([link.get("ifname"), *(item.get(key) for key in ADDRESS_KEYS)]))
    return found


def _sysctls() -> set[str]:
    found = set()
    for pattern in SYSCTLS:
        for path in Path("/proc/sys/net").glob(pattern):
            try:
                found.add(f"{path} = {path.read_text().strip()}")
            except OSError:
                continue
    return found


def _names(directory: str) -> set[str]:
    return {entry.name for entry in Path(directory).iterdir()} if Path(directory).is_dir() else set()


def snapshot() -> dict[str, set[str]]:
    """Everything of the machine that a careless test would change, as sets of lines by kind. Mounts and ``/run`` are
    not in it: the command has its own. Nor are control groups, which every daemon on the machine makes and removes all
    the time: the tests that start containers look for theirs."""
    return {
        "link": _rows(_output("ip", "-j", "-d", "link"), LINK_KEYS),
        "address": _addresses(),
        "route": _rows(_output("ip", "-j", "-4", "route", "show", "table", "all"), ROUTE_KEYS)
        | _rows(_output("ip", "-j", "-6", "route", "show", "table", "all"), ROUTE_KEYS),
        "rule": set(_output("ip", "rule").splitlines()),
        "nftables": set(_output("nft", "-s", "list", "ruleset").splitlines()),
        "namespace": _names("/run/netns"),
        "sysctl": _sysctls(),
        "state": _names("/var/lib/fairlead"),
    }


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> list[str]:
    """What changed, one line each: ``+`` is left behind, ``-`` is gone."""
    return [
        f"{sign} {kind}: {line}"
        for kind in before
        for sign, lines in (("+", after[kind] - before[kind]), ("-", before[kind] - after[kind]))
        for line in sorted(lines)
    ]


def survivors() -> list[int]:
    """Children of this process, its own and those it inherited; the dead among them are reaped."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            break
    return [int(pid) for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Exit code of the child; orphans that end meanwhile are reaped, as the machine's first process would."""
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


def _settled(before: dict[str, set[str]]) -> tuple[list[int], list[str]]:
    """Processes and differences that are still there after a fair time."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while True:
        alive, changed = survivors(), difference(before, snapshot())
        if not (alive or changed) or time.monotonic() > deadline:
            return alive, changed
        time.sleep(SETTLE_STEP_S)


def _stop(alive: list[int]) -> None:
    """Kill what was left, generation by generation: an orphan of the killed becomes ours."""
    deadline = time.monotonic() + DEATH_S_MAX
    while alive and time.monotonic() < deadline:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        time.sleep(SETTLE_STEP_S)
        alive = survivors()


def main(command: list[str]) -> int:
    """Run the command inside; returns its exit code, or 1 if it left something behind."""
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = snapshot()
    inside = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", ENTER, "enclosure", *command]
    with subprocess.Popen(inside) as child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets it from the terminal too, and cleans up
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        code = _wait(child)
    alive, changed = _settled(before)
    for pid in alive:
        print(f"left behind: + process {pid}: {_command_line(pid)}", file=sys.stderr)
    for line in changed:
        print(f"left behind: {line}", file=sys.stderr)
    _stop(alive)
    return 1 if alive or changed else code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
