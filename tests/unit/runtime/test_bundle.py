"""The OCI configuration that a container gets."""

from __future__ import annotations

import dataclasses
import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.errors import Invalid
from fairlead.model.runspec import ExecSpec, RunSpec
from fairlead.runtime import profile
from fairlead.runtime.bundle import Bound, Place, config, exec_process
from fairlead.runtime.users import Identity

ID = "ab12" * 16
PLACE = Place(rootfs="/run/fairlead/containers/x/rootfs", identity=Identity())
SPEC = RunSpec(
    container_id=ID,
    image="host",
    args=("sleep", "1"),
    env=(),
    working_dir="",
    user="",
    hostname="",
    tty=False,
    open_stdin=False,
    netns="/run/fairlead/netns/a",
    hosts="/s/hosts",
    resolv_conf="/s/resolv.conf",
    hostname_file="/s/hostname",
)


def made(place: Place = PLACE, **changes: object) -> dict[str, dict[str, object]]:
    spec = dataclasses.replace(SPEC, **changes)  # type: ignore[arg-type]
    return cast("dict[str, dict[str, object]]", config(spec, place))


def process(place: Place = PLACE, **changes: object) -> dict[str, object]:
    return made(place, **changes)["process"]


def mounts(place: Place = PLACE, **changes: object) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", made(place, **changes)["mounts"])


def namespaces(**changes: object) -> dict[str, str]:
    entries = cast("list[dict[str, str]]", made(**changes)["linux"]["namespaces"])
    return {entry["type"]: entry.get("path", "") for entry in entries}


def test_capabilities_are_dockers_fourteen_and_none_is_inheritable() -> None:
    capabilities = cast("dict[str, list[str]]", process()["capabilities"])
    assert len(profile.CAPABILITIES) == 14
    assert set(capabilities) == {"bounding", "effective", "permitted"}
    assert all(names == list(profile.CAPABILITIES) for names in capabilities.values())
    assert "CAP_SYS_ADMIN" not in capabilities["bounding"]
    assert "CAP_NET_ADMIN" not in capabilities["bounding"]


def test_network_namespace_is_joined_by_path() -> None:
    assert namespaces() == {"pid": "", "ipc": "", "mount": "", "uts": "", "network": "/run/fairlead/netns/a"}


def test_without_network_namespace_the_hosts_own_is_used_with_its_name() -> None:
    assert namespaces(netns="") == {"pid": "", "ipc": "", "mount": ""}
    assert "hostname" not in made(netns="")


def test_hostname_defaults_to_the_short_identifier() -> None:
    assert made()["hostname"] == ID[:12]
    assert "HOSTNAME=" + ID[:12] in cast("list[str]", process()["env"])
    assert made(hostname="web")["hostname"] == "web"


def test_environment_has_defaults_that_the_user_may_replace() -> None:
    place = Place(rootfs="/r", identity=Identity(uid=5, home="/home/five"))
    assert process(place, hostname="web")["env"] == [f"PATH={profile.PATH}", "HOSTNAME=web", "HOME=/home/five"]
    assert process(place, hostname="web", tty=True, env=("PATH=/x", "A=1=2", "HOME=/h", "gone", "=bad"))["env"] == [
        "PATH=/x",
        "HOSTNAME=web",
        "TERM=xterm",
        "A=1=2",
        "HOME=/h",
    ]


def test_our_files_are_bound_over_the_images() -> None:
    bound = {entry["destination"]: entry["source"] for entry in mounts() if entry["type"] == "bind"}
    assert bound == {"/etc/hosts": "/s/hosts", "/etc/resolv.conf": "/s/resolv.conf", "/etc/hostname": "/s/hostname"}
    assert not [entry for entry in mounts(hosts="", resolv_conf="", hostname_file="") if entry["type"] == "bind"]


def test_a_bind_over_etc_does_not_hide_our_files() -> None:
    place = dataclasses.replace(PLACE, mounts=(Bound("/etc", "/a"), Bound("/etc/x/y", "/b")))
    targets = [str(entry["destination"]) for entry in mounts(place)]
    assert targets.index("/etc") < targets.index("/etc/hosts") < targets.index("/etc/x/y")


def test_host_image_gets_fresh_directories_and_hides_ours() -> None:
    place = dataclasses.replace(PLACE, fresh=True, hidden=("/var/lib/fairlead",))
    fresh = {entry["destination"] for entry in mounts(place) if entry["type"] == "tmpfs"}
    assert fresh == {"/dev", "/dev/shm", "/tmp", "/run"}
    assert "/var/lib/fairlead" in cast("list[str]", made(place)["linux"]["maskedPaths"])
    assert not {"/tmp", "/run"} & {entry["destination"] for entry in mounts()}


def test_kernel_files_are_masked_or_read_only_as_docker_does() -> None:
    linux = made()["linux"]
    assert "/proc/kcore" in cast("list[str]", linux["maskedPaths"])
    assert "/proc/sys" in cast("list[str]", linux["readonlyPaths"])
    system = next(entry for entry in mounts() if entry["destination"] == "/sys")
    assert "ro" in cast("list[str]", system["options"])


def test_cgroup_is_ours_by_name() -> None:
    assert made()["linux"]["cgroupsPath"] == f"/fairlead/{ID}"


def test_control_groups_of_its_own_are_a_namespace() -> None:
    linux = made(dataclasses.replace(PLACE, cgroup_ns=True))["linux"]
    assert {"type": "cgroup"} in cast("list[object]", linux["namespaces"])


@pytest.mark.parametrize(("limit", "soft", "hard"), [(1 << 20, 1024, 524288), (4096, 1024, 4096), (512, 512, 512)])
def test_open_files_stay_within_what_we_may_grant(limit: int, soft: int, hard: int) -> None:
    place = dataclasses.replace(PLACE, nofile_max=limit)
    assert process(place)["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]


def test_seccomp_is_left_out_on_a_machine_that_is_not_known() -> None:
    assert "seccomp" in made()["linux"]
    assert "seccomp" not in made(dataclasses.replace(PLACE, machine="riscv64"))["linux"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"args": ()}, "no command specified"),
        ({"args": ("a\0b",)}, "NUL"),
        ({"working_dir": "relative"}, "absolute path"),
    ],
)
def test_what_makes_no_container_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        made(**changes)


@given(st.lists(st.text(max_size=20), max_size=4), st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_configuration_is_json(env: list[str], args: list[str]) -> None:
    try:
        text = json.dumps(made(env=tuple(env), args=tuple(args)))
    except Invalid:
        assert any("\0" in arg for arg in args)
        return
    assert json.loads(text)["process"]["args"] == args


def test_exec_inherits_the_containers_environment_and_limits() -> None:
    own = process(env=("A=1", "B=2"), hostname="web", tty=True)
    beside = exec_process(own, ExecSpec(args=("id",), env=("B=3",), working_dir="/w"), None)
    assert beside["args"] == ["id"]
    assert {"A=1", "B=3", "HOSTNAME=web"} <= set(cast("list[str]", beside["env"]))
    assert "B=2" not in cast("list[str]", beside["env"])
    assert beside["cwd"] == "/w"
    assert beside["terminal"] is False
    assert (beside["user"], beside["rlimits"], beside["capabilities"]) == (
        own["user"],
        own["rlimits"],
        own["capabilities"],
    )


def test_exec_as_another_user_gets_that_users_home() -> None:
    beside = exec_process(process(), ExecSpec(args=("id",), user="five", tty=True), Identity(5, 6, (7,), "/home/five"))
    assert beside["user"] == {"uid": 5, "gid": 6, "additionalGids": [7]}
    assert {"HOME=/home/five", "TERM=xterm"} <= set(cast("list[str]", beside["env"]))
