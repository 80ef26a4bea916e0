"""Docker's Python library, which scripts and compose-like tools are written with, drives the daemon."""

from __future__ import annotations

import gc
import io
import tarfile
import threading
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import EndpointConfig, IPAMConfig, IPAMPool, Mount
from tests.kernel.one_host.host import HOST_V4, Host
from tests.kernel.one_host.programs import IDLE, echo
from tests.kernel.one_host.waiting import until

# the library leaves the sockets of its streams to the collector of garbage
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What the library has left is collected here, where nobody minds."""
    yield
    gc.collect()


#: Ends at once when it is asked to.
POLITE = ("sh", "-c", "echo begun; trap 'exit 7' TERM; while :; do sleep 1000 & wait; done")


@pytest.fixture
def client(host: Host) -> Iterator[docker.DockerClient]:
    """The library, and nothing left of what a test made with it."""
    made = docker.DockerClient(base_url=host.url, version="auto", timeout=120)
    yield made
    for container in made.containers.list(all=True):
        container.remove(force=True, v=True)
    made.networks.prune()
    made.close()


def test_networks_are_made_listed_used_and_removed(client: docker.DockerClient) -> None:
    pool = IPAMPool(subnet="10.81.0.0/24", gateway="10.81.0.254", aux_addresses={"router": "10.81.0.9"})
    net = client.networks.create("lib", ipam=IPAMConfig(pool_configs=[pool]), labels={"a": "b"}, check_duplicate=True)
    assert [found.id for found in client.networks.list(names=["lib"])] == [net.id]
    assert [found.name for found in client.networks.list(filters={"label": "a=b"}, greedy=True)] == ["lib"]
    assert net.attrs["IPAM"]["Config"][0]["Gateway"] == "10.81.0.254"
    one = client.containers.run("host", IDLE, name="one", network="lib", detach=True)
    two = client.containers.create(
        "host", IDLE, name="two", network="lib", networking_config={"lib": EndpointConfig("1.44", aliases=["friend"])}
    )
    two.start()
    assert two.name in one.exec_run(["getent", "hosts", "two"]).output.decode()
    assert one.exec_run(["getent", "hosts", "friend"]).exit_code == 0
    other = client.networks.create("lib2", internal=True)
    other.connect(two, aliases=["db"], ipv4_address=None)
    two.reload()
    assert set(two.attrs["NetworkSettings"]["Networks"]) == {"lib", "lib2"}
    net.reload()
    assert {found.name for found in net.containers} == {"one", "two"}
    other.disconnect(two, force=True)
    with pytest.raises(APIError, match="has active endpoints") as refused:
        net.remove()
    assert refused.value.status_code == 403
    assert client.networks.prune()["NetworksDeleted"] == ["lib2"]
    with pytest.raises(APIError, match="already exists"):
        client.networks.create("lib", check_duplicate=True)
    for container in (one, two):
        container.remove(force=True)
    net.remove()
    with pytest.raises(NotFound):
        client.networks.get("lib")


def test_a_command_runs_to_its_end(client: docker.DockerClient) -> None:
    said = client.containers.run("host", ["sh", "-c", "echo out; echo $A"], environment={"A": "b"}, remove=True)
    assert said == b"out\nb\n"
    with pytest.raises(ContainerError) as failed:
        client.containers.run("host", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"bad\n")
    assert client.containers.list(all=True) == []
    with pytest.raises(ImageNotFound):
        client.containers.run("nowhere", "true")


def test_the_life_of_a_container(client: docker.DockerClient, host: Host) -> None:
    box: Container = client.containers.run(
        "host", POLITE, name="box", hostname="inside", labels={"x": "y"}, detach=True
    )
    until(lambda: box.logs() == b"begun\n", "its output")
    assert (box.status, box.name, box.labels["x"]) == ("created", "box", "y")
    assert [found.id for found in client.containers.list(filters={"label": "x=y"})] == [box.id]
    done = box.exec_run(["sh", "-c", "echo o; echo e >&2; exit 4"], demux=True)
    assert (done.exit_code, done.output) == (4, (b"o\n", b"e\n"))
    assert b"".join(box.exec_run(["hostname"], stream=True).output) == b"inside\n"
    stats = box.stats(stream=False)
    assert stats["memory_stats"]["usage"] > 0
    assert "eth0" in stats["networks"]
    assert next(box.stats(decode=True))["id"] == box.id
    assert any("sleep" in " ".join(row) for row in box.top()["Processes"])
    box.rename("crate")
    box.pause()
    box.reload()
    assert (box.status, box.name) == ("paused", "crate")
    box.unpause()
    box.update(cpu_shares=512)
    box.stop(timeout=5)
    assert box.wait()["StatusCode"] == 7
    box.restart(timeout=0)
    box.kill()
    assert box.wait()["StatusCode"] == 137
    assert b"".join(box.logs(stream=True, timestamps=False, tail=1)) == b"begun\n"
    with pytest.raises(APIError, match="not implemented here"):
        box.diff()
    box.remove()
    with pytest.raises(NotFound, match="No such container"):
        client.containers.get("crate")


def test_ports_are_published(client: docker.DockerClient, host: Host) -> None:
    box = client.containers.run("host", echo("lib", "tcp:80"), ports={"80/tcp": 8480}, name="web", detach=True)
    box.reload()
    assert box.ports["80/tcp"][0]["HostPort"] == "8480"
    until(lambda: host.neighbour.reaches(HOST_V4, 8480), "the published port answers")
    assert host.neighbour.tcp(HOST_V4, 8480)[0] == "lib"


def test_volumes_hold_what_containers_share(client: docker.DockerClient) -> None:
    volume = client.volumes.create("libvol", labels={"k": "v"})
    mounts = [Mount("/data", "libvol")]
    client.containers.run("host", ["sh", "-c", "echo kept >/data/file"], mounts=mounts, remove=True)
    volumes = {"libvol": {"bind": "/data", "mode": "ro"}}
    assert client.containers.run("host", ["cat", "/data/file"], volumes=volumes, remove=True) == b"kept\n"
    assert [found.name for found in client.volumes.list(filters={"label": "k=v"})] == ["libvol"]
    holder = client.containers.create("host", IDLE, volumes=volumes)
    with pytest.raises(APIError) as refused:
        volume.remove()
    assert refused.value.status_code == 409
    holder.remove()
    volume.remove()
    with pytest.raises(NotFound):
        client.volumes.get("libvol")


def test_files_go_in_and_out(client: docker.DockerClient) -> None:
    box = client.containers.create("host", IDLE)
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w") as archive:
        entry = tarfile.TarInfo("letter")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    assert box.put_archive("/opt", sent.getvalue())
    pieces, told = box.get_archive("/opt/letter")
    assert (told["name"], told["size"]) == ("letter", 5)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        content = archive.extractfile("letter")
        assert content is not None
        assert content.read() == b"hello"


def test_images(client: docker.DockerClient) -> None:
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    said = client.api.import_image_from_data(root.getvalue(), repository="lib/empty", tag="1")
    assert "sha256:" in said
    image = client.images.get("lib/empty:1")
    assert image.tag("lib/again", "2")
    image.reload()
    assert set(image.tags) == {"lib/empty:1", "lib/again:2"}
    assert [found.id for found in client.images.list(name="lib/empty")] == [image.id]
    assert image.history()[0]["Id"] == image.id
    client.images.remove("lib/again:2")
    client.images.remove("lib/empty:1")
    with pytest.raises(ImageNotFound):
        client.images.get("lib/empty:1")


def test_events_come_as_they_happen(client: docker.DockerClient, host: Host) -> None:
    heard: list[dict[str, Any]] = []
    stream = client.events(decode=True, filters={"type": ["container", "network"]})

    def listen() -> None:
        heard.extend(stream)

    listener = threading.Thread(target=listen)
    listener.start()
    client.networks.create("told")
    client.containers.run("host", "true", network="told", name="teller", remove=True)
    client.networks.get("told").remove()
    wanted = ["create", "create", "connect", "start", "die", "disconnect", "destroy", "destroy"]
    until(lambda: {"Type": "network", "Action": "destroy"}.items() <= (heard or [{}])[-1].items(), "the last event")
    stream.close()
    listener.join()
    assert sorted(event["Action"] for event in heard) == sorted(wanted)
    assert heard[0]["Actor"]["Attributes"]["name"] == "told"


def test_what_the_daemon_tells_of_itself(client: docker.DockerClient) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"]
    assert client.info()["ServerVersion"]
    assert {"Containers", "Images", "Volumes"} <= set(client.df())
