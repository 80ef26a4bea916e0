"""The commands of ``service`` against the API of a fake node with a real brain and an agent of make-believe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.fake_agents import Agents
from tests.unit.api.living import living_api
from tests.unit.cli.test_swarm import Shell

from fairlead.cli.service.lists import network
from fairlead.cli.service.ports import ports, without
from fairlead.cli.service.pretty import span
from fairlead.cli.service.rows import task_rows
from fairlead.model.errors import Invalid

QUICK = ("--update-monitor", "1ms", "--rollback-monitor", "1ms")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    with living_api(tmp_path) as living:
        shell = Shell(living, capsys)
        shell("swarm", "init")
        with Agents(living) as agents:
            agents.join("fakehost")
            yield shell


def inspected(shell: Shell, name: str = "web") -> Any:
    return json.loads(shell("service", "inspect", name))[0]


def container(shell: Shell) -> Any:
    return inspected(shell)["Spec"]["TaskTemplate"]["ContainerSpec"]


class TestPorts:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("80", [(0, 80, "tcp", "ingress", "")]),
            ("8080:80/udp", [(8080, 80, "udp", "ingress", "")]),
            ("127.0.0.1:8080:80", [(8080, 80, "tcp", "ingress", "127.0.0.1")]),
            ("8080-8081:80-81", [(8080, 80, "tcp", "ingress", ""), (8081, 81, "tcp", "ingress", "")]),
            ("published=8080,target=80,mode=host", [(8080, 80, "tcp", "host", "")]),
            ("target=80,protocol=sctp", [(0, 80, "sctp", "ingress", "")]),
            (
                "published=1-2,target=3-4,mode=host,host_ip=::1",
                [(1, 3, "tcp", "host", "::1"), (2, 4, "tcp", "host", "::1")],
            ),
        ],
    )
    def test_forms(self, text: str, found: list[object]) -> None:
        fields = ("PublishedPort", "TargetPort", "Protocol", "PublishMode", "HostIP")
        assert [tuple(port.get(key, 0) for key in fields) for port in ports([text])] == found

    @pytest.mark.parametrize(
        "text",
        ["", "published=80", "target=x", "target=80,mode=odd", "target=80,odd=1", "target", "1-3:80", "target=80,x"],
    )
    def test_faulty_ones(self, text: str) -> None:
        with pytest.raises(Invalid):
            ports([text])

    def test_are_removed_by_target_or_wholly(self) -> None:
        present = ports(["8080:80", "8081:80/udp", "8443:443"])
        assert [port["TargetPort"] for port in without(present, ["80"])] == [80, 443]
        assert len(without(present, ["9999:443"])) == 3
        assert len(without(present, ["8443:443"])) == 2


def test_networks_in_both_forms() -> None:
    assert network("sea") == {"Target": "sea"}
    assert network("name=sea,alias=a,alias=b,ip=10.0.0.1-10.0.0.3,driver-opt=k=v") == {
        "Target": "sea",
        "Aliases": ["a", "b"],
        "DriverOpts": {"k": "v"},
        "Addresses": ["10.0.0.1-10.0.0.3"],
    }
    for text in ("alias=x", "name=sea,odd=1", "name=sea,ip"):
        with pytest.raises(Invalid):
            network(text)


@pytest.mark.parametrize(
    ("nanoseconds", "words"), [(0, "0s"), (5e9, "5s"), (9e10, "1m30s"), (5e8, "500ms"), (3600e9, "1h0m0s")]
)
def test_spans_are_written_as_go_does(nanoseconds: float, words: str) -> None:
    assert span(int(nanoseconds)) == words


def test_tasks_of_a_slot_stand_below_its_newest() -> None:
    def task(ident: str, slot: int, created: str, state: str = "running", **status: str) -> dict[str, object]:
        body = {"State": state, "Timestamp": "2020-01-01T00:00:00Z", **status}
        return {"ID": ident, "ServiceID": "s", "Slot": slot, "CreatedAt": created, "Status": body}

    tasks = [
        task("a", 1, "2026-01-01T00:00:00Z", "failed", Err="task: non-zero exit (1) and a lot more to tell"),
        task("b", 10, "2026-01-02T00:00:00Z", "pending", Message="no suitable node"),
        task("c", 1, "2026-01-03T00:00:00Z"),
        task("d", 2, "2026-01-03T00:00:00Z", "new", Message="created"),
    ]
    rows = task_rows(tasks, {"s": "web"}, {}, full=False)
    assert [row["Name"] for row in rows] == ["web.1", " \\_ web.1", "web.2", "web.10"]
    assert [row["Error"] for row in rows] == ["", '"task: non-zero exit (1) and a…"', "", '"no suitable node"']
    assert task_rows(tasks, {}, {}, full=True)[1]["Error"].endswith('more to tell"')  # type: ignore[attr-defined]


def test_life_of_a_service(shell: Shell) -> None:
    said = shell("service", "create", "--name", "web", "--replicas", "2", *QUICK, "host", "sleep", "9").splitlines()
    identifier = said[0]
    assert said[-1] == f"verify: Service {identifier} converged"
    assert "overall progress: 2 out of 2 tasks" in said
    row = shell("service", "ls").splitlines()
    assert row[0].split() == ["ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"]
    assert row[1].split() == [identifier[:12], "web", "replicated", "2/2", "host"]
    shown = shell("service", "ps", "web").splitlines()
    assert shown[0].split() == ["ID", "NAME", "IMAGE", "NODE", "DESIRED", "STATE", "CURRENT", "STATE", "ERROR", "PORTS"]
    assert [line.split()[1:6] for line in shown[1:]] == [
        [f"web.{slot}", "host", "fakehost", "Running", "Running"] for slot in (1, 2)
    ]
    assert shell("service", "scale", "web=3").startswith("web scaled to 3\n")
    assert shell("service", "ps", "-q", "web").count("\n") == 3
    assert json.loads(shell("service", "ls", "--format", "json"))["Replicas"] == "3/3"
    assert shell("node", "ps").count("web.") == 3
    shell("service", "update", "-q", "--env-add", "B=2", "--update-parallelism", "0", "web")
    assert container(shell)["Env"] == ["B=2"]
    assert " \\_ web.1" in shell("service", "ps", "web")
    shell("service", "rollback", "-q", "web")
    assert "Env" not in container(shell)
    assert shell("service", "rm", "web") == "web\n"
    shell("service", "rm", "web", code=1)
    assert "service web not found" in shell.err


def test_pending_tasks_say_why(shell: Shell) -> None:
    shell("service", "create", "-d", "--name", "web", "--constraint", "node.labels.disk==ssd", "host")
    assert "no suitable node" in shell("service", "ps", "--no-trunc", "web")
    assert shell("service", "ls", "--format", "{{.Replicas}}") == "0/1\n"


def test_a_failing_update_pauses_and_says_so(shell: Shell) -> None:
    shell("service", "create", "-q", "--name", "web", *QUICK, "host", "sleep", "9")
    shell(
        "service", "update", "-q", "--args", "fail", "--restart-delay", "0s", "--update-monitor", "10s", "web", code=1
    )
    assert shell.err.startswith("service update paused: ")
    assert "non-zero exit (3)" in shell("service", "ps", "--no-trunc", "web")


def test_every_flag_arrives(shell: Shell) -> None:
    shell("network", "create", "-d", "overlay", "--subnet", "10.77.0.0/24", "sea")
    shell(
        "service", "create", "-d", "--name", "web", "--mode", "replicated", "--network", "name=sea,alias=www",
        "--ip", "10.77.0.20-10.77.0.21", "--hostname", "h", "--user", "nobody", "--workdir", "/srv", "--tty", "--init",
        "--read-only", "--stop-signal", "SIGINT", "--stop-grace-period", "3s", "--entrypoint", "sh -c",
        "--label", "a=b", "--container-label", "c=d", "--dns", "192.0.2.53", "--dns-option", "ndots:1", "--dns-search",
        "example.org", "--host", "db:192.0.2.1", "--group", "adm", "--mount", "type=bind,src=/srv,dst=/data,ro",
        "--ulimit", "nofile=1:2", "--sysctl", "net.core.somaxconn=99", "--cap-add", "NET_RAW", "--cap-drop", "CAP_CHOWN",
        "--limit-cpu", "0.5", "--limit-memory", "64m", "--limit-pids", "9", "--reserve-cpu", "0.1", "--reserve-memory",
        "32m", "--restart-condition", "on-failure", "--restart-delay", "1s", "--restart-max-attempts", "4",
        "--restart-window", "1m", "--constraint", "node.role==manager", "--placement-pref", "spread=node.labels.zone",
        "--replicas-max-per-node", "2", "--update-delay", "2s", "--update-max-failure-ratio", "0.5", "--health-cmd",
        "true", "--health-interval", "5s", "--log-opt", "max-size=1m", "--publish", "8080:80", "--oom-score-adj", "5",
        "--rollback-order", "stop-first", "host", "run this",
    )  # fmt: skip
    spec = inspected(shell)["Spec"]
    task = spec["TaskTemplate"]
    found = task["ContainerSpec"]
    assert task["Networks"][0]["Aliases"] == ["www"]
    assert task["Networks"][0]["Addresses"] == ["10.77.0.20", "10.77.0.21"]
    assert (found["Hostname"], found["User"], found["Dir"], found["TTY"], found["Init"]) == (
        "h",
        "nobody",
        "/srv",
        True,
        True,
    )
    assert (found["ReadOnly"], found["StopSignal"], found["StopGracePeriod"]) == (True, "SIGINT", 3 * 10**9)
    assert (found["Command"], found["Args"]) == (["sh", "-c"], ["run this"])
    assert (spec["Labels"], found["Labels"]) == ({"a": "b"}, {"c": "d"})
    assert found["DNSConfig"] == {"Nameservers": ["192.0.2.53"], "Search": ["example.org"], "Options": ["ndots:1"]}
    assert (found["Hosts"], found["Groups"]) == (["192.0.2.1 db"], ["adm"])
    assert found["Mounts"] == [{"Type": "bind", "Source": "/srv", "Target": "/data", "ReadOnly": True}]
    assert (found["Sysctls"], found["CapabilityAdd"]) == ({"net.core.somaxconn": "99"}, ["CAP_NET_RAW"])
    assert task["Resources"]["Limits"] == {"NanoCPUs": 5 * 10**8, "MemoryBytes": 64 << 20, "Pids": 9}
    assert task["RestartPolicy"] == {"Condition": "on-failure", "Delay": 10**9, "MaxAttempts": 4, "Window": 6 * 10**10}
    assert task["Placement"]["MaxReplicas"] == 2
    assert (spec["UpdateConfig"]["Delay"], spec["UpdateConfig"]["MaxFailureRatio"]) == (2 * 10**9, 0.5)
    assert found["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert task["LogDriver"]["Options"] == {"max-size": "1m"}
    words = shell("service", "inspect", "--pretty", "web")
    for line in (
        "Name:\t\tweb",
        " Replicas:\t1",
        " Constraints:\t[node.role==manager]",
        " Max Replicas Per Node:\t2",
        "Endpoint Mode:\tvip",
        "Networks: sea ",
        " PublishedPort = 8080",
        "  Memory:\t64MiB",
    ):
        assert line in words.splitlines(), line
    assert " Virtual IP:\t10.77.0." in words
    shell(
        "service", "update", "-d", "--network-rm", "sea", "--label-rm", "a", "--label-add", "x=y", "--publish-rm", "80",
        "--publish-add", "81", "--mount-rm", "/data", "--host-rm", "db", "--constraint-rm", "node.role==manager",
        "--dns-rm", "192.0.2.53", "--ulimit-rm", "nofile", "--sysctl-rm", "net.core.somaxconn", "--cap-drop", "NET_RAW",
        "--placement-pref-rm", "spread=node.labels.zone", "--group-rm", "adm", "--container-label-rm", "c",
        "--no-healthcheck", "--no-tty", "--force", "web",
    )  # fmt: skip
    spec = inspected(shell)["Spec"]
    task, found = spec["TaskTemplate"], spec["TaskTemplate"]["ContainerSpec"]
    assert (spec["Labels"], task["ForceUpdate"], found["CapabilityDrop"]) == (
        {"x": "y"},
        1,
        ["CAP_CHOWN", "CAP_NET_RAW"],
    )
    assert not {"Mounts", "Hosts", "Ulimits", "Sysctls", "CapabilityAdd", "Groups", "Labels", "TTY"} & set(found)
    assert "Networks" not in task
    assert found["Healthcheck"] == {"Test": ["NONE"]}
    assert [port["TargetPort"] for port in spec["EndpointSpec"]["Ports"]] == [81]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "--ip", "10.0.0.1", "host"), "--ip needs a network"),
        (("create", "--secret", "x", "host"), "secrets are not implemented"),
        (("create", "--placement-pref", "pack=x", "host"), "only spread is supported"),
        (("create", "--update-failure-action", "odd", "--name", "x", "host"), "odd"),
        (("create", "--mode", "global", "--replicas", "2", "host"), "replicas can only be used with replicated mode"),
        (("create", "--name", "x", "--network", "none-such", "host"), "network none-such not found"),
        (("scale", "web"), "invalid scale specifier"),
        (("scale", "web=2"), "service web not found"),
        (("ps", "web"), "service web not found"),
        (("logs", "web"), "service web not found"),
        (("inspect", "--pretty", "--format", "json", "x"), "incompatible with human friendly format"),
    ],
)
def test_faults_are_told(shell: Shell, words: tuple[str, ...], told: str) -> None:
    shell("service", *words, code=1)
    assert told in shell.err


def test_other_flags_do_not_go_with_a_rollback(shell: Shell) -> None:
    shell("service", "create", "-d", "--name", "web", "host")
    shell("service", "update", "--rollback", "--env-add", "A=1", "web", code=1)
    assert "other flags may not be combined with --rollback" in shell.err
    shell("service", "update", "-d", "--env-add", "A=1", "web")
    shell("service", "update", "-d", "--rollback", "web")
    assert "Env" not in container(shell)


def test_logs_say_whose_each_line_is(shell: Shell) -> None:
    shell("service", "create", "-q", "--name", "web", *QUICK, "host", "sleep", "9")
    task = shell("service", "ps", "-q", "--no-trunc", "web").strip()
    assert shell("service", "logs", "web") == f"web.1.{task[:12]}@fakehost    | hello from 1\n"
    assert shell("service", "logs", "--no-task-ids", "-t", task) == (
        "2026-01-01T00:00:00.000000000Z web.1@fakehost    | hello from 1\n"
    )
    assert shell("service", "logs", "--raw", "web") == "hello from 1\n"


def test_a_global_service_has_a_task_on_each_node(shell: Shell) -> None:
    said = shell("service", "create", "--name", "web", "--mode", "global", *QUICK, "host", "sleep", "9")
    assert "overall progress: 1 out of 1 tasks" in said
    assert "web.fakehost" in shell("service", "ps", "web")
    shell("service", "scale", "web=2", code=1)
    assert "scale can only be used with replicated mode" in shell.err
