"""Doors of the API: the Unix socket, and TCP only for those that prove who they are (SEC-25, SEC-26)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import FAIRLEAD, Host
from tests.kernel.one_host.namespace import PROGRAM_S
from tests.kernel.one_host.waiting import until

from fairlead.api.tls import TcpDoor, TlsFiles
from fairlead.model.errors import Invalid

PORT = 2376
CLIENTS = sorted(
    {os.path.realpath(path) for path in ("/usr/bin/docker", "/usr/local/bin/docker") if Path(path).exists()}
)


def listeners(host: Host) -> list[str]:
    """Sockets of the host that take connections or datagrams from anywhere."""
    rows = host.ns.run("ss", "-H", "-lntu").stdout.splitlines()
    return [row.split()[4] for row in rows]


def test_sec_25_a_fresh_daemon_opens_no_port(host: Host) -> None:
    assert listeners(host) == []


@dataclass(frozen=True)
class Proof:
    """Certificates of an authority: for the daemon, and for a client."""

    folder: Path

    def files(self, who: str) -> list[str]:
        """Docker's flags for one side."""
        return [
            "--tlsverify",
            f"--tlscacert={self.folder}/ca.pem",
            f"--tlscert={self.folder}/{who}.pem",
            f"--tlskey={self.folder}/{who}-key.pem",
        ]


def authority(folder: Path) -> Proof:
    """Make an authority, a daemon's certificate for 127.0.0.1 and a client's."""
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    for who, usage, name in (("server", "serverAuth", "IP:127.0.0.1"), ("client", "clientAuth", "DNS:client")):
        (folder / "ext").write_text(f"subjectAltName={name}\nextendedKeyUsage={usage}\n")
        openssl("req", "-new", *key, "-keyout", f"{who}-key.pem", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        openssl(
            *("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"),
            *("-out", f"{who}.pem", "-days", "2", "-extfile", "ext"),
        )
    return Proof(folder)


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates: apt install openssl")
    return authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def door(make_host: MakeHost, proof: Proof) -> Iterator[Host]:
    """A host whose daemon answers on TCP too."""
    host = make_host()
    host.flags = ("--host", f"tcp://127.0.0.1:{PORT}", *proof.files("server"))
    host.start()
    yield host
    host.flags = ()


def test_the_docker_client_works_by_mutual_tls(door: Host, proof: Proof) -> None:
    if not CLIENTS:
        pytest.skip("no docker client is installed: ./run test installs Debian's docker.io")
    for client in CLIENTS:
        words = [client, "-H", f"tcp://127.0.0.1:{PORT}", *proof.files("client")]
        assert "bridge" in door.ns.run(*words, "network", "ls", "--format", "{{.Name}}").stdout
        assert door.ns.run(*words, "run", "--rm", "host", "echo", "by tls").stdout == "by tls\n"
        refused = door.ns.run(*words[:3], "network", "ls", check=False)
        assert refused.returncode != 0


def test_our_own_command_works_by_mutual_tls(door: Host, proof: Proof) -> None:
    words = [FAIRLEAD, "--host", f"tcp://127.0.0.1:{PORT}"]
    done = door.ns.run(*words, *proof.files("client"), "network", "ls", "--format", "json")
    assert {json.loads(line)["Name"] for line in done.stdout.splitlines()} == {"bridge", "host", "none"}
    out = door.ns.run(*words, *proof.files("client"), "run", "--rm", "host", "echo", "by tls").stdout
    assert out == "by tls\n"
    refused = door.ns.run(*words, "network", "ls", check=False)
    assert "mutual TLS only" in refused.stderr


def test_the_end_of_input_goes_through_tls(door: Host, proof: Proof) -> None:
    words = door.ns.command(FAIRLEAD, "--host", f"tcp://127.0.0.1:{PORT}", *proof.files("client"))
    much = b"".join(b"%d\n" % number for number in range(100_000))  # more than all buffers on the way hold
    done = subprocess.run(
        [*words, "run", "-i", "--rm", "host", "sh", "-c", "cat; echo the end"],
        input=much,
        capture_output=True,
        timeout=PROGRAM_S,
        check=True,
    )
    assert done.stdout == much + b"the end\n"


def context(proof: Proof | None) -> ssl.SSLContext:
    """A client's side; without a proof it trusts anyone and shows nothing."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if proof is not None:
        made.load_cert_chain(proof.folder / "client.pem", proof.folder / "client-key.pem")
    return made


def dial(host: Host) -> socket.socket:
    wire = host.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    wire.settimeout(PROGRAM_S)
    wire.connect(("127.0.0.1", PORT))
    return wire


def answer(host: Host, shown: ssl.SSLContext) -> bytes:
    """What comes back to a request, empty when the door stays shut."""
    with dial(host) as wire:
        try:
            with shown.wrap_socket(wire) as secure:
                secure.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: secure.recv(65536), b""))
        except (ssl.SSLError, ConnectionError):
            return b""


def test_sec_25_without_a_certificate_of_ours_nobody_gets_in(door: Host, proof: Proof, tmp_path: Path) -> None:
    assert answer(door, context(proof)).endswith(b"OK")
    assert answer(door, context(None)) == b""
    assert answer(door, context(authority(tmp_path / "theirs"))) == b""
    with dial(door) as plain:
        plain.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(65536)
    assert listeners(door) == [f"127.0.0.1:{PORT}"]


def test_sec_26_hundreds_of_half_handshakes_starve_nobody(door: Host, proof: Proof) -> None:
    held = [dial(door) for _ in range(400)]
    try:
        until(lambda: answer(door, context(proof)).endswith(b"OK"), "a client with a proof is let in")
    finally:
        for wire in held:
            wire.close()


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://x:1", "unix:///x", "tcp://::1", "nonsense"]
)
def test_odd_addresses_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        TcpDoor.parse(url, TlsFiles("a", "b", "c"), verify=True)


@pytest.mark.parametrize(("files", "verify"), [(TlsFiles("a", "b", "c"), False), (TlsFiles("", "b", "c"), True)])
def test_sec_25_a_door_without_mutual_tls_is_refused(files: TlsFiles, verify: bool) -> None:
    with pytest.raises(Invalid, match="mutual TLS only"):
        TcpDoor.parse("tcp://127.0.0.1:2376", files, verify=verify)
