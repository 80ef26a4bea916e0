"""What a daemon and its containers hold of the machine: no more than they need, and nothing once they are gone."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.leftovers import cgroups, leftovers
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until


def test_a_container_gets_no_descriptor_but_its_three(host: Host) -> None:
    """SEC-31: nothing of the daemon, of conmon or of runc is open in a container or in a command beside it."""
    with host.run("quiet", ("sleep", "100000")) as quiet:
        assert sorted(path.name for path in Path(f"/proc/{quiet.pid}/fd").iterdir()) == ["0", "1", "2"]
        look = "for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n; done; true"
        assert quiet.exec("sh", "-c", look).stdout.split() == ["0", "1", "2"]


def test_the_door_is_a_file_for_root_and_its_group(host: Host) -> None:
    """SEC-23: no abstract socket, no TCP port, and not for everyone."""
    mode = (host.run_dir / "fairlead.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    listening = host.ns.run("ss", "-Hlntup").stdout
    assert listening == ""
    assert "@fairlead" not in host.ns.run("cat", "/proc/net/unix").stdout


def test_a_container_cannot_see_the_daemons_own_files(host: Host) -> None:
    with host.run("nosy") as nosy:
        for path in (host.state / "node.db", host.run_dir / "fairlead.sock"):
            assert nosy.exec("ls", str(path), check=False).returncode != 0


def test_a_stopped_host_leaves_nothing(make_host: MakeHost) -> None:
    host = make_host()
    host.start()
    host.network("web", v6="fd00:81::/64")
    for name in ("a", "b", "c"):
        host.run(name, echo(name, "tcp:80"), network="web", publish={"80/tcp": [""]})
    held = sorted(path.name for path in cgroups(host.containers))
    assert set(held) == host.containers
    for name in ("a", "b", "c"):
        host.api.delete(f"/containers/{name}", {"force": True})
    host.remove_network("web")
    until(lambda: set(host.links()) == {"lo", "up0", "up1", "fairlead0"}, "only the default bridge is left")
    assert host.stop() == 0
    assert leftovers(host.folder, host.containers) == []
    assert not (host.run_dir / "fairlead.sock").exists()
