"""Other firewalls on a test host, the real ones: ufw, firewalld with a bus of its own, dockerd's rules."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.waiting import until

_BUS = """<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
<allow user="*"/></policy></busconfig>"""
#: A copy of ufw's files that may be changed, in a mount namespace of its own.
_UFW = """
set -e
test -d {folder}/etc || cp -a /etc/ufw {folder}/etc
test -f {folder}/default || cp /etc/default/ufw {folder}/default
mount --bind {folder}/etc /etc/ufw
mount --bind {folder}/default /etc/default/ufw
exec ufw "$@"
"""


def need(*programs: str) -> None:
    """Skip the test where one is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"programs are missing: {', '.join(missing)}; ./run test installs them")


class Ufw:
    """The host's ufw."""

    def __init__(self, host: Host) -> None:
        need("ufw", "iptables")
        self._host = host
        self._folder = host.folder / "ufw"
        self._folder.mkdir()

    def __call__(self, *words: str) -> str:
        script = _UFW.format(folder=self._folder)
        return self._host.ns.run("unshare", "--mount", "sh", "-c", script, "sh", *words).stdout


class Firewalld:
    """The host's firewalld. ``environment`` is how other programs find it."""

    def __init__(self, host: Host, environment: Mapping[str, str]) -> None:
        self._host = host
        self.environment = dict(environment)

    def __call__(self, *words: str) -> str:
        """``firewall-cmd``."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return self._host.ns.run("env", *settings, "firewall-cmd", *words).stdout


@contextlib.contextmanager
def firewalld(host: Host) -> Iterator[Firewalld]:
    """firewalld in the host's network, with a message bus and a configuration of its own."""
    need("firewalld", "firewall-cmd", "dbus-daemon")
    folder = host.folder / "firewalld"
    (folder / "etc").mkdir(parents=True)
    (folder / "bus.conf").write_text(_BUS.format(socket=folder / "bus"))
    found = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"}
    words = ["firewalld", "--nofork", "--nopid", "--system-config", str(folder / "etc")]
    words += ["--log-target", "file", "--log-file", str(folder / "log")]
    with contextlib.ExitStack() as stack:
        bus = _program(["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork"], {})
        stack.callback(_end, bus)
        until((folder / "bus").exists, "the message bus")
        daemon = _program(host.ns.command(*words), found)
        stack.callback(_end, daemon)
        made = Firewalld(host, found)
        until(lambda: _runs(made), "firewalld")
        yield made


def _program(words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(words, stdin=null, stdout=null, stderr=null, env={**os.environ, **environment})


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _runs(made: Firewalld) -> bool:
    try:
        return made("--state").strip() == "running"
    except AssertionError:
        return False


@contextlib.contextmanager
def dockerd(host: Host) -> Iterator[None]:
    """Debian's Docker engine in the host's network, with directories of its own: its rules are what matters."""
    need("dockerd", "iptables")
    folder = Path(host.folder) / "docker"
    folder.mkdir()
    words = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    words += ["--host", f"unix://{folder}/sock", "--storage-driver", "vfs", "--bip", "10.200.0.1/24"]
    mounts = 'mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib/docker 2>/dev/null; exec "$@"'
    process = _program(host.ns.command("unshare", "--mount", "sh", "-c", mounts, "sh", *words), {})
    try:
        until(lambda: "DOCKER-USER" in host.ruleset(), "Docker's rules")
        yield
    finally:
        _end(process)
