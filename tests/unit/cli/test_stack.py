"""The commands of ``stack``: what Compose files mean, and their life in a cluster with a real brain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.fake_agents import Agents
from tests.unit.api.living import living_api
from tests.unit.cli.test_swarm import Shell

from fairlead.cli.stack.project import Project, merged, project
from fairlead.model.errors import Invalid

WHOLE = """
x-own: {any: thing}
services:
  web:
    image: host
    entrypoint: ["sh", "-c"]
    command: sleep ${FOR:-9}
    env_file: [web.env, {path: none.env, required: false}]
    environment: {B: "2", FLAG: true}
    labels: [c=d]
    hostname: h
    user: nobody
    working_dir: /srv
    tty: true
    init: true
    read_only: true
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    dns: 192.0.2.53
    dns_opt: [ndots:1]
    dns_search: [example.org]
    extra_hosts: ["db=192.0.2.1", "six=[2001:db8::1]"]
    sysctls: [net.core.somaxconn=99]
    cap_add: [NET_RAW]
    ulimits: {nproc: 9, nofile: {soft: 1, hard: 2}}
    tmpfs: /run:size=1m
    expose: [9]
    logging: {driver: json-file, options: {max-size: 1m}}
    healthcheck: {test: [CMD, "true"], interval: 5s, retries: 2, start_period: 1s}
    volumes:
      - data:/data:ro
      - ./here:/there
      - {type: tmpfs, target: /t, tmpfs: {size: 1m}}
    ports:
      - "8080:80"
      - {target: 81, published: "8081", host_ip: 127.0.0.1, mode: host, protocol: udp, name: odd}
      - "9000-9001:9000-9001"
    networks:
      front: {aliases: [www], ipv4_address: "10.77.0.20-10.77.0.22", priority: 5}
      default:
    deploy:
      replicas: 3
      endpoint_mode: vip
      labels: {a: b}
      update_config: {parallelism: 2, delay: 10s, order: stop-first, failure_action: rollback, monitor: 1ms}
      rollback_config: {parallelism: 0}
      restart_policy: {condition: on-failure, delay: 2s, max_attempts: 3, window: 60s}
      placement: {constraints: [node.role==manager], preferences: [{spread: node.labels.zone}], max_replicas_per_node: 2}
      resources: {limits: {cpus: "0.5", memory: 64M, pids: 9}, reservations: {cpus: 0.1, memory: 32M}}
networks:
  front:
    attachable: true
    ipam: {config: [{subnet: 10.77.0.0/24, gateway: 10.77.0.9, ip_range: 10.77.0.128/25, aux_addresses: {a: 10.77.0.2}}]}
volumes:
  data:
"""


def understood(folder: Path, *texts: str) -> Project:
    names = []
    for number, text in enumerate(texts):
        file = folder / f"{number}.yaml"
        file.write_text(text)
        names.append(str(file))
    notes: list[str] = []
    return project("shop", merged(names, notes), notes)


def web(project_: Project) -> Any:
    return project_.services["web"]


def service(folder: Path, lines: str, rest: str = "") -> Any:
    """A service with these keys beside its image."""
    body = "\n".join(f"    {line}" for line in lines.splitlines())
    return understood(folder, f"services:\n  web:\n    image: host\n{body}\n{rest}")


class TestMeaning:
    def test_everything_is_honoured(self, tmp_path: Path) -> None:
        (tmp_path / "web.env").write_text('# words\nexport A="1"\nB=lost\n')
        found = understood(tmp_path, WHOLE)
        assert found.notes == ()
        spec = web(found)
        task = spec["TaskTemplate"]
        container = task["ContainerSpec"]
        assert spec["Name"] == "shop_web"
        assert spec["Labels"] == {"a": "b", "com.docker.stack.image": "host", "com.docker.stack.namespace": "shop"}
        assert container["Labels"] == {"c": "d", "com.docker.stack.namespace": "shop"}
        assert (container["Command"], container["Args"]) == (["sh", "-c"], ["sleep", "9"])
        assert container["Env"] == ["A=1", "B=2", "FLAG=true"]
        assert container["StopGracePeriod"] == 90 * 10**9
        assert container["Hosts"] == ["192.0.2.1 db", "2001:db8::1 six"]
        assert container["Sysctls"] == {"net.core.somaxconn": "99"}
        assert container["Ulimits"] == [
            {"Name": "nproc", "Soft": 9, "Hard": 9},
            {"Name": "nofile", "Soft": 1, "Hard": 2},
        ]
        assert container["Healthcheck"]["Test"] == ["CMD", "true"]
        assert [(mount["Type"], mount.get("Source", ""), mount["Target"]) for mount in container["Mounts"]] == [
            ("volume", "shop_data", "/data"),
            ("bind", str(tmp_path / "here"), "/there"),
            ("tmpfs", "", "/t"),
            ("tmpfs", "", "/run"),
        ]
        assert task["Networks"] == [
            {
                "Target": "shop_front",
                "Aliases": ["www", "web"],
                "DriverOpts": {},
                "Addresses": ["10.77.0.20-10.77.0.22"],
            },
            {"Target": "shop_default", "Aliases": ["web"], "DriverOpts": {}, "Addresses": []},
        ]
        assert task["Resources"]["Limits"] == {"NanoCPUs": 5 * 10**8, "MemoryBytes": 64 << 20, "Pids": 9}
        assert task["Placement"]["MaxReplicas"] == 2
        assert task["RestartPolicy"]["Window"] == 60 * 10**9
        assert (spec["Mode"], spec["UpdateConfig"]["Order"]) == ({"Replicated": {"Replicas": 3}}, "stop-first")
        ports = spec["EndpointSpec"]["Ports"]
        assert [port["TargetPort"] for port in ports] == [80, 81, 9000, 9001]
        assert (ports[1]["HostIP"], ports[1]["Name"], ports[1]["PublishMode"]) == ("127.0.0.1", "odd", "host")
        front = next(body for body in found.networks if body["Name"] == "shop_front")
        assert front["Attachable"] is True
        assert front["IPAM"]["Config"] == [  # type: ignore[index]
            {
                "Subnet": "10.77.0.0/24",
                "IPRange": "10.77.0.128/25",
                "Gateway": "10.77.0.9",
                "AuxiliaryAddresses": {"a": "10.77.0.2"},
            }
        ]

    def test_what_is_not_honoured_is_named_with_its_place(self, tmp_path: Path) -> None:
        found = service(tmp_path, "restart: always\nbuild: .\nnetworks:\n  default: {mac_address: x}\nlinks: [a]")
        file = tmp_path / "0.yaml"
        assert [note.partition(" is not honoured: ")[0] for note in found.notes] == [
            f"{file}:7: services.web.networks.default.mac_address",
            f"{file}:4: services.web.restart",
            f"{file}:5: services.web.build",
            f"{file}:8: services.web.links",
        ]

    @pytest.mark.parametrize(
        ("lines", "line", "words"),
        [
            ("imgae: x", 4, "services.web Additional property imgae is not allowed"),
            ("deploy: {replicas: many}", 4, "services.web.deploy.replicas must be an integer"),
            ("deploy: {mode: replicated-job}", 4, "jobs are not implemented"),
            ("deploy: {mode: global, replicas: 2}", 4, "replicas can only be used with replicated mode"),
            ("networks: [none]", 4, 'service "web" refers to undefined network none'),
            ("volumes: ['none:/x']", 4, "undefined volume: none"),
            ("ports:\n  - x", 5, "invalid containerPort: x"),
            ("ports:\n  - {published: 1}", 5, "invalid port"),
            ("healthcheck: {interval: soon}", 4, "does not match the format 'duration'"),
            ("tty: perhaps", 4, "must be a boolean"),
            ("secrets: [x]", 4, "services.web.secrets is not implemented"),
            ("extends: {service: x}", 4, "services.web.extends is not implemented"),
            ("dns: {a: b}", 4, "services.web.dns must be a list"),
            ('command: "a \'b"', 4, "has a quote that is not closed"),
            ("extra_hosts: [lonely]", 4, "invalid extra host 'lonely'"),
        ],
    )
    def test_faults_say_where(self, tmp_path: Path, lines: str, line: int, words: str) -> None:
        with pytest.raises(Invalid) as caught:
            service(tmp_path, lines)
        assert caught.value.message.startswith(f"{tmp_path / '0.yaml'}:{line}: ")
        assert words in caught.value.message

    def test_several_files(self, tmp_path: Path) -> None:
        found = understood(
            tmp_path,
            "services: {web: {image: host, environment: [A=1], ports: ['80:80']}}",
            "services: {web: {environment: {B: 2}, deploy: {replicas: 2}}, more: {image: host}}",
        )
        assert web(found)["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=1", "B=2"]
        assert web(found)["Mode"] == {"Replicated": {"Replicas": 2}}
        assert set(found.services) == {"web", "more"}

    def test_names_of_ones_own_and_of_others(self, tmp_path: Path) -> None:
        rest = "networks:\n  n: {name: mine}\n  e: {external: true}\n  old: {external: {name: other}}\n"
        rest += "volumes:\n  vol: {external: true}\n  own: {name: mine}\n"
        found = service(tmp_path, "networks: [n, e, old]\nvolumes: ['vol:/v', 'own:/w']", rest)
        assert [body["Name"] for body in found.networks] == ["mine"]
        assert found.external == ("e", "other")
        assert [mount["Source"] for mount in web(found)["TaskTemplate"]["ContainerSpec"]["Mounts"]] == ["vol", "mine"]

    def test_profiles_choose(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = service(tmp_path, "profiles: [debug]")
        assert (found.services, len(found.notes)) == ({}, 1)
        monkeypatch.setenv("COMPOSE_PROFILES", "debug")
        assert set(service(tmp_path, "profiles: [debug]").services) == {"web"}

    def test_a_health_check_may_be_off(self, tmp_path: Path) -> None:
        found = service(tmp_path, "healthcheck: {disable: true}")
        assert web(found)["TaskTemplate"]["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    with living_api(tmp_path) as living:
        shell = Shell(living, capsys)
        shell("swarm", "init")
        with Agents(living) as agents:
            agents.join("fakehost")
            yield shell


def test_life_of_a_stack(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "web.env").write_text("A=1\n")
    file = tmp_path / "compose.yaml"
    # One node: a port of its own and a bound of two would leave one of the three tasks waiting.
    fits = WHOLE.replace("preferences: [{spread: node.labels.zone}], max_replicas_per_node: 2", "")
    file.write_text(fits.replace("mode: host", "mode: ingress"))
    dry = shell("stack", "deploy", "--dry-run", "-c", str(file), "shop")
    assert "Creating service shop_web (dry run)" in dry
    assert shell("stack", "ls") == "NAME      SERVICES\n"
    said = shell("stack", "deploy", "--no-detach", "-c", str(file), "shop").splitlines()
    assert sorted(said[:3]) == [
        "Creating network shop_default",
        "Creating network shop_front",
        "Creating service shop_web",
    ]
    assert said[-1].endswith("converged")
    assert shell("stack", "ls").splitlines()[1].split() == ["shop", "1"]
    network = json.loads(shell("network", "inspect", "shop_front"))[0]
    assert network["IPAM"]["Config"][0]["Gateway"] == "10.77.0.9"
    assert shell("stack", "services", "shop").splitlines()[1].split()[1:4] == ["shop_web", "replicated", "3/3"]
    assert shell("stack", "ps", "--format", "{{.Name}}", "shop").split() == [f"shop_web.{slot}" for slot in (1, 2, 3)]
    found = shell.living.client.get("/tasks")
    assert isinstance(found, list)
    addresses = {task["Slot"]: task["NetworksAttachments"] for task in found}
    places = {item["Network"]["Spec"]["Name"]: item["Addresses"] for item in addresses[2]}
    assert places["shop_front"] == ["10.77.0.21/24"]
    file.write_text("services: {next: {image: host, command: sleep 9}}\n")
    said = shell("stack", "deploy", "--prune", "-c", str(file), "shop")
    assert said == "Removing service shop_web\nCreating service shop_next\n"
    said = shell("stack", "deploy", "-c", str(file), "shop")
    assert said.startswith("Updating service shop_next (id: ")
    said = shell("stack", "rm", "shop")
    assert "Removing service shop_next\n" in said
    assert "Removing network shop_default\n" in said
    shell("stack", "rm", "shop")
    assert shell.err == "Nothing found in stack: shop\n"
    shell("stack", "ps", "shop", code=1)
    assert "nothing found in stack: shop" in shell.err


def test_unchanged_services_keep_their_tasks(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: host, command: sleep 9}}\n")
    shell("stack", "deploy", "-c", str(file), "shop")
    before = shell("stack", "ps", "-q", "shop")
    shell("stack", "deploy", "-c", str(file), "shop")
    assert shell("stack", "ps", "-q", "shop") == before


def test_an_external_network_must_be_there(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: host, networks: [far]}}\nnetworks: {far: {external: true}}\n")
    shell("stack", "deploy", "-c", str(file), "shop", code=1)
    assert 'network "far" is declared as external, but could not be found' in shell.err
    assert "network create --driver overlay far" in shell.err
    shell("network", "create", "far")
    shell("stack", "deploy", "-c", str(file), "shop", code=1)
    assert 'not in the right scope: "local" instead of "swarm"' in shell.err


def test_config_shows_one_file_and_its_faults(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: $NONE_SUCH}}\n")
    shell("stack", "config", "-c", str(file), code=1)
    assert f"{file}:1: services.web: no image specified" in shell.err
    file.write_text("services: {web: {image: '${IMAGE:-host}', restart: always}}\n")
    assert shell("stack", "config", "-c", str(file)) == "services:\n  web:\n    image: host\n    restart: always\n"
    assert f"{file}:1: services.web.restart is not honoured" in shell.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("deploy", "shop"), "specify a Compose file"),
        (("deploy", "-c", "/none.yaml", "shop"), "cannot read /none.yaml"),
        (("deploy", "-c", "/none.yaml", "a/b"), 'invalid stack name: "a/b"'),
    ],
)
def test_faults_are_told(shell: Shell, words: tuple[str, ...], told: str) -> None:
    shell("stack", *words, code=1)
    assert told in shell.err
