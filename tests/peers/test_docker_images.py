"""A real image, made here of the machine's own programs, in the hands of every docker client that is installed."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.docker_client import Docker, clients, docker_of
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.waiting import until

#: Programs of the image.
PROGRAMS = ("sh", "cat", "id", "ls", "sleep", "hostname", "head", "true")
FILES = {
    "etc/os-release": 'NAME="Small"\nVERSION="7"\n',
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nana:x:1234:1235:Ana:/home/ana:/bin/sh\n",
    "etc/group": "root:x:0:\nana:x:1235:\n",
}
CHANGES = ("ENV COLOUR=blue", "WORKDIR /home/ana", "USER ana", "EXPOSE 80/tcp", "LABEL tier=front", 'CMD ["hostname"]')


def libraries(program: str) -> set[str]:
    """The loader and the libraries that a program needs, by the paths that it looks for."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", said))


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as a compressed archive, as people have them."""
    found = {f"bin/{name}": shutil.which(name) or "" for name in PROGRAMS}
    missing = [name for name, program in found.items() if not program]
    if missing:
        pytest.skip(f"programs are missing: {', '.join(missing)}; coreutils, dash and hostname have them")
    for program in list(found.values()):
        found |= {library.lstrip("/"): library for library in libraries(program)}
    path = tmp_path_factory.mktemp("image") / "small.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in ("bin", "etc", "tmp", "home", "home/ana"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            folder.uid, folder.gid = (1234, 1235) if name == "home/ana" else (0, 0)
            archive.addfile(folder)
        for name, program in found.items():
            entry = archive.gettarinfo(os.path.realpath(program), name)
            entry.type, entry.linkname, entry.uid, entry.gid = tarfile.REGTYPE, "", 0, 0
            entry.size = os.stat(program).st_size
            with open(program, "rb") as content:
                archive.addfile(entry, content)
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


@pytest.fixture(params=clients() or [""], ids=lambda path: path.replace("/", "_").strip("_") or "none")
def docker(request: pytest.FixtureRequest, host: Host) -> Iterator[Docker]:
    """Each client, against the daemon of the module; what a test made is removed."""
    if not request.param:
        pytest.skip("no docker client is installed: ./run test installs Debian's docker.io")
    run = docker_of(request.param, host)
    yield run
    for row in host.get("/containers/json?all=1"):
        run("rm", "-fv", row["Id"])
    for row in host.get("/images/json"):
        if row["RepoTags"] != ["host:latest"]:
            run("rmi", "-f", row["Id"])


@pytest.fixture
def image(docker: Docker, tarball: Path) -> str:
    """The image under a name, with everything that a change may say."""
    words = [word for change in CHANGES for word in ("--change", change)]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", docker("import", *words, str(tarball), "team/small:7").stdout)
    return "team/small:7"


def listed(docker: Docker, *words: str) -> list[str]:
    return docker("images", "--format", "{{.Repository}}:{{.Tag}}", *words).stdout.split()


def test_an_image_runs_as_its_changes_say(docker: Docker, image: str) -> None:
    assert docker("run", "--rm", image, "cat", "/etc/os-release").stdout == FILES["etc/os-release"]
    told = docker("run", "--rm", image, "sh", "-c", "id -un; id -G; echo $COLOUR $HOME; echo a >file; ls")
    assert told.stdout.split("\n")[:-1] == ["ana", "1235", "blue /home/ana", "file"]
    assert docker("run", "--rm", "--hostname", "inside", image).stdout == "inside\n"
    assert (
        docker("run", "--rm", "-u", "0", "-w", "/tmp", image, "sh", "-c", "id -u; echo x >y; cat y").stdout == "0\nx\n"
    )
    assert "executable file not found" in docker("run", "--rm", image, "bash", code=127).stderr


def test_a_container_of_an_image_lives(docker: Docker, image: str) -> None:
    docker("run", "-d", "--name", "long", image, "sh", "-c", "echo begun; exec sleep 100000")
    until(lambda: docker("logs", "long").stdout == "begun\n", "its output")
    assert docker("exec", "long", "id", "-un").stdout == "ana\n"
    assert (
        docker("exec", "-u", "root", "-e", "COLOUR=red", "long", "sh", "-c", "id -un; echo $COLOUR").stdout
        == "root\nred\n"
    )
    assert (
        docker("ps", "--filter", f"ancestor={image}", "--format", "{{.Names}} {{.Image}}").stdout == f"long {image}\n"
    )
    assert docker("inspect", "-f", "{{json .Config.ExposedPorts}}", "long").stdout == '{"80/tcp":{}}\n'
    docker("rm", "-f", "long")


def test_images_are_listed_inspected_and_filtered(docker: Docker, image: str, tarball: Path) -> None:
    docker("tag", image, "other:v1")
    nameless = docker("import", str(tarball)).stdout.strip()
    assert {"team/small:7", "other:v1", "<none>:<none>", "host:latest"} == set(listed(docker))
    assert listed(docker, "--filter", "dangling=true") == ["<none>:<none>"]
    assert "<none>:<none>" not in listed(docker, "--filter", "dangling=false")
    for pattern, found in (
        ("other", ["other:v1"]),
        ("oth*:v?", ["other:v1"]),
        ("team/*", [image]),
        ("*", ["host:latest", "other:v1"]),
        ("none*", []),
    ):
        assert listed(docker, "--filter", f"reference={pattern}") == found, pattern
    assert listed(docker, "other") == ["other:v1"]
    assert set(listed(docker, "--filter", "label=tier=front")) == {"team/small:7", "other:v1"}
    assert nameless[7:] in docker("images", "-q", "--no-trunc").stdout
    shown: dict[str, Any] = json.loads(docker("image", "inspect", image).stdout)[0]
    config = shown["Config"]
    assert (config["User"], config["WorkingDir"], config["Cmd"]) == ("ana", "/home/ana", ["hostname"])
    assert (config["Env"], config["Labels"], set(config["ExposedPorts"])) == (
        ["COLOUR=blue"],
        {"tier": "front"},
        {"80/tcp"},
    )
    assert set(shown["RepoTags"]) == {"team/small:7", "other:v1"}
    assert shown["Size"] > 1_000_000
    assert docker("image", "inspect", "-f", "{{.Id}}", "other:v1").stdout.strip() == shown["Id"]
    assert nameless in docker("image", "prune", "-f").stdout
    assert "<none>:<none>" not in listed(docker)


def test_an_image_in_use_stays(docker: Docker, image: str) -> None:
    docker("run", "-d", "--name", "user", image, "sleep", "100000")
    refused = docker("rmi", image, code=1).stderr
    assert "conflict" in refused
    assert "container" in refused
    assert docker("rmi", "-f", shown_id(docker, image), code=1).stderr.count("is using its referenced image") == 1
    docker("rm", "-f", "user")
    gone = docker("rmi", image).stdout
    assert f"Untagged: {image}" in gone
    assert "Deleted: sha256:" in gone
    assert image not in listed(docker)
    assert "No such image" in docker("rmi", image, code=1).stderr


def shown_id(docker: Docker, name: str) -> str:
    return docker("image", "inspect", "-f", "{{.Id}}", name).stdout.strip()
