"""Namespaces of a lab, and the underlay that joins them: made by Debian's ``unshare``, ``mount`` and ``ip``.

A namespace lives as long as a process or a mount holds it. A short-lived holder process is started in fresh ones and
furnishes them; then its namespaces are bound to files and it ends. The file of a mount namespace needs a private mount
below it (unshare(1)), hence one private tmpfs for all files of a lab; unmounting it lets go of everything at once.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fairlead.lab.layout import (
    KINDS,
    UNDERLAY_LINK,
    UNDERLAY_V4,
    UNDERLAY_V4_BITS,
    UNDERLAY_V6,
    UNDERLAY_V6_BITS,
    Host,
    Layout,
    Place,
)
from fairlead.lab.patience import PATIENCE
from fairlead.model import codes
from fairlead.model.errors import Internal

#: Seconds one of these programs may take; each takes a few milliseconds.
STEP_S_MAX = 20.0 * PATIENCE
#: Source of our private mounts, by which a new mount namespace finds the copies that it must not keep.
SOURCE = "fairlead-lab"

#: Run in fresh namespaces. Arguments: the host's name, then pairs FILE PLACE to bind. The copied mounts of foreign
#: namespaces go, or this host would keep those alive; /sys is mounted anew, so that it shows this host's links, with
#: the control groups on it as before; and /run/netns is this host's own.
_FURNISH = """
set -e
awk -v source="$SOURCE" '$1 == source || $3 == "nsfs" { print $2 }' /proc/self/mounts | while read -r place; do
    umount -l "$place" 2>/dev/null || true
done
printf '%s\\n' "$1" >/proc/sys/kernel/hostname
shift
while [ $# -gt 0 ]; do [ ! -e "$2" ] || mount --bind "$1" "$2"; shift 2; done
if mount -t sysfs sysfs "$SCRATCH" 2>/dev/null; then
    mount --rbind /sys/fs/cgroup "$SCRATCH/fs/cgroup"
    umount -l /sys
    mount --rbind "$SCRATCH" /sys
    umount -l "$SCRATCH"
fi
if [ -d /run/netns ]; then mount -t tmpfs -o mode=755 tmpfs /run/netns; fi
for setting in /proc/sys/net/bridge/bridge-nf-call-*; do
    [ -z "$SWITCH" ] || [ ! -e "$setting" ] || echo 0 >"$setting"
done
ip link set lo up
echo ready
read -r _
"""


def _run(*command: str, text: str = "") -> None:
    try:
        subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=STEP_S_MAX)
    except FileNotFoundError:
        raise Internal(f"{command[0]} is missing", hint="install util-linux and iproute2", code=codes.LAB) from None
    except subprocess.TimeoutExpired:
        raise Internal(f"{command[0]} did not end within {STEP_S_MAX:.0f} s", code=codes.LAB) from None
    except subprocess.CalledProcessError as fault:
        raise Internal(f"{' '.join(command)}: {fault.stderr.strip() or fault}", code=codes.LAB) from None


def open_namespaces(layout: Layout) -> None:
    """Make the mount that will hold every namespace of the lab."""
    Path(layout.namespaces).mkdir()
    _run("mount", "-t", "tmpfs", "-o", "mode=700,size=1m", "--make-private", SOURCE, layout.namespaces)


def close_namespaces(layout: Layout) -> None:
    """Let go of every namespace of the lab; they end when their last process does. Nothing there is nothing to do."""
    while any(line.split()[1] == layout.namespaces for line in Path("/proc/self/mounts").read_text().splitlines()):
        _run("umount", "-l", layout.namespaces)


def make_switch(layout: Layout) -> None:
    """Make the namespace with the underlay's bridge, whose own addresses are the hosts' router."""
    _make(layout.switch, "switch", (), scratch=layout.root, switch=True)
    _ip(
        layout.switch,
        f"link add {UNDERLAY_LINK} type bridge forward_delay 0 mcast_snooping 0",
        f"address add {UNDERLAY_V4}.1/{UNDERLAY_V4_BITS} dev {UNDERLAY_LINK}",
        f"address add {UNDERLAY_V6}1/{UNDERLAY_V6_BITS} dev {UNDERLAY_LINK} nodad",
        f"link set {UNDERLAY_LINK} up",
    )


def make_host(layout: Layout, host: Host) -> None:
    """Make a host and plug it into the underlay; its link is made in its namespace, as ``eth0``."""
    files = (host.hosts, "/etc/hosts", host.resolv_conf, "/etc/resolv.conf")
    _make(host.place, host.name, files, scratch=host.root, switch=False)
    net = host.place.file("net")
    _ip(
        layout.switch,
        f"link add {host.name} master {UNDERLAY_LINK} up type veth peer name eth0 netns {net}",
    )
    _ip(
        host.place,
        f"address add {host.address_v4}/{UNDERLAY_V4_BITS} dev eth0",
        f"address add {host.address_v6}/{UNDERLAY_V6_BITS} dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {UNDERLAY_V4}.1",
        f"route add default via {UNDERLAY_V6}1",
    )


def enter(place: Place, directory: str, command: list[str]) -> list[str]:
    """The command line that runs ``command`` in the namespaces of a place, in ``directory`` where it exists there."""
    flags = [f"--net={place.file('net')}", f"--uts={place.file('uts')}", f"--mount={place.file('mnt')}"]
    return ["nsenter", *flags, "--", "sh", "-c", 'cd "$0" 2>/dev/null || cd /; exec "$@"', directory, *command]


def _make(place: Place, name: str, binds: tuple[str, ...], *, scratch: str, switch: bool) -> None:
    """Fresh namespaces, furnished and bound to the files of a place.

    A mount namespace can be bound only in an older one. Linux 6.18 compares identifiers for that, which it gives out in
    batches for each processor (``gen_cookie_next``), so a new namespace may look older than ours; one made on the
    processor that ours was made on never does. Hence one try on each.
    """
    Path(place.directory).mkdir()
    for kind in KINDS:
        Path(place.file(kind)).touch()
    scratch_directory = Path(scratch, "scratch")
    scratch_directory.mkdir()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "SOURCE": SOURCE,
        "SCRATCH": str(scratch_directory),
        "SWITCH": "1" if switch else "",
    }
    processors = sorted(os.sched_getaffinity(0))
    for processor in processors:
        holder = _holder(processor, [name, *binds], environment)
        try:
            _bind(holder.pid, place)
            break
        except Internal:
            if processor == processors[-1]:
                raise
        finally:
            holder.communicate("\n", timeout=STEP_S_MAX)
    scratch_directory.rmdir()


def _holder(processor: int, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process in fresh namespaces that has furnished them and waits for a line; raises ``Internal``."""
    command = ["taskset", "-c", str(processor), "unshare", "--net", "--mount", "--uts", "--propagation", "private"]
    try:
        holder = subprocess.Popen(
            [*command, "sh", "-c", _FURNISH, "sh", *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError:
        raise Internal("taskset is missing", hint="install util-linux", code=codes.LAB) from None
    assert holder.stdout is not None
    if holder.stdout.readline() != "ready\n":
        _, said = holder.communicate(timeout=STEP_S_MAX)
        raise Internal(
            f"cannot make the namespaces of {arguments[0]}: {said.strip()}", hint="run it as root", code=codes.LAB
        )
    return holder


def _bind(pid: int, place: Place) -> None:
    for kind in KINDS:
        _run("mount", "--bind", f"/proc/{pid}/ns/{kind}", place.file(kind))


def _ip(place: Place, *lines: str) -> None:
    _run("nsenter", f"--net={place.file('net')}", "ip", "-batch", "-", text="\n".join(lines) + "\n")
