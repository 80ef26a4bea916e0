"""The demo: two networks, four containers and a daemon that dies under a download; then three hosts as one cluster,
and a stack of services on them.

It uses only what a user has: ``fairlead``, ``curl``, ``ping``, ``dig``, ``redis-cli``. ``./run demo`` starts it inside namespaces of
its own. Exit code 0 means that every step held.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import cluster, http_mesh, mesh, services
from demo.story import Failed, Story, command_path

LAB = "demo"
STEPS = 20
PORT = 8000
#: The download: long enough to outlive a daemon's death and return, at a rate that keeps it short.
FILE_BYTES = 40 * 1024 * 1024
RATE = "5M"

#: The web server's configuration. It answers with the address that it sees, so that one sees it, too.
NGINX = """
user root;
daemon off;
pid /run/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    server {{
        listen 80;
        location / {{ return 200 "hello $remote_addr, this is nginx in container $hostname\\n"; }}
        location /big {{ alias {directory}/big; }}
    }}
}}
"""


def main() -> int:
    """Tell the story; clean up whatever happens."""
    command_path(Path(__file__).resolve().parent.parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    story = Story(LAB, STEPS)
    directory = Path(tempfile.mkdtemp(prefix="fairlead-demo-", dir="/var/tmp"))
    before = traces()
    try:
        play(story, directory, before)
    except (Failed, KeyboardInterrupt) as fault:
        print(f"\nFAILED in step: {story.title}\n  {fault}", flush=True)
        for host in ("h1", "h2", "h3"):
            story.log_tail(f"{lab_base()}/{LAB}/{host}/daemon.log")
        return 1
    finally:
        subprocess.run(["fairlead", "lab", "down", "--name", LAB], check=False, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)
    print(f"\nEvery step held. {story.seconds:.0f} seconds.")
    return 0


def play(story: Story, directory: Path, before: set[str]) -> None:
    """All steps in order."""
    big = directory / "big"
    big.write_bytes(os.urandom(FILE_BYTES))
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory))
    directory.chmod(0o755)

    hosts(story)
    networks(story)
    web = containers(story, directory)
    names(story, web)
    published(story)
    isolation(story, web)
    crash(story, directory, hashlib.sha256(big.read_bytes()).hexdigest())
    cluster.form(story)
    cluster.overlay(story, directory)
    cluster.headless(story, LAB)
    mesh.publish(story, directory)
    mesh.update(story)
    services.deploy(story, directory)
    services.scale(story)
    services.update(story, directory)
    services.drain(story)
    services.remove(story)
    http_mesh.open_shops(story, directory)
    http_mesh.move(story)
    http_mesh.close_shops(story)
    cluster.end(story)
    gone(story, before)


def hosts(story: Story) -> None:
    """Three hosts with a daemon each."""
    story.step("Three hosts, each a network namespace with a daemon of its own")
    story.here("fairlead", "lab", "up", "--name", LAB, "--hosts", "3")
    story.here("fairlead", "lab", "status", "--name", LAB)
    story.on("h2", "ping", "-c", "1", "-W", "2", "h1")
    story.shows("the hosts are up and see each other; `h1$ X` below is `fairlead lab exec --name demo h1 -- X`")


def networks(story: Story) -> None:
    """Two networks on the first host."""
    story.step("Two networks on h1")
    for name in ("blue", "red"):
        story.on("h1", "fairlead", "network", "create", name)
    listed = story.on("h1", "fairlead", "network", "ls")
    story.check("blue" in listed and "red" in listed, "the networks are not listed")
    story.shows("blue and red are bridges with a subnet each, chosen so that no route of the host is hit")


def containers(story: Story, directory: Path) -> str:
    """Four containers; returns the address of the one with nginx."""
    story.step("Four containers: nginx and alice on blue, bob and carol on red")
    flags = ["--network-alias", "www", "-p", f"{PORT}:80"]
    server = ["nginx", "-c", str(directory / "nginx.conf")]
    story.on("h1", "fairlead", "run", "-d", "--name", "web", "--network", "blue", *flags, "host", *server)
    for name, network in (("alice", "blue"), ("bob", "red"), ("carol", "red")):
        story.on("h1", "fairlead", "run", "-d", "--name", name, "--network", network, "host", "sleep", "3600")
    listed = story.on("h1", "fairlead", "ps")
    story.check(all(name in listed for name in ("web", "alice", "bob", "carol")), "not all four containers run")
    form = "{{.NetworkSettings.Networks.blue.IPAddress}}"
    address = story.on("h1", "fairlead", "inspect", "--format", form, "web")
    story.shows(f"all four run under runc on a copy-on-write view of this machine's files; nginx is at {address}")
    return address


def names(story: Story, web: str) -> None:
    """Embedded DNS."""
    story.step("Names: every container of a network finds the others, and nobody else")
    story.on("h1", "fairlead", "exec", "alice", "ping", "-c", "1", "-W", "2", "web")
    story.check(
        story.on("h1", "fairlead", "exec", "alice", "dig", "+short", "www") == web, "the alias www does not lead to web"
    )
    answer = story.on("h1", "fairlead", "exec", "alice", "dig", "+short", "-x", web)
    story.check(answer.startswith("web."), "the address of web has no name")
    story.on("h1", "fairlead", "exec", "bob", "ping", "-c", "1", "-W", "2", "carol")
    brief = ["+noall", "+comments", "+answer", "+tries=1", "+time=2"]
    answer = story.on("h1", "fairlead", "exec", "bob", "dig", *brief, "web")
    story.check("ANSWER: 0" in answer and web not in answer, "bob is not on blue, but learns the address of web")
    story.shows("names, aliases and reverse names work inside a network; bob on red does not even learn where web is")


def published(story: Story) -> None:
    """The published port from everywhere."""
    story.step(f"A published port: {PORT} of h1 is nginx's port 80, at every address of h1 and from h2")
    listed = story.on("h1", "ip", "-brief", "-4", "address", "show", "up")
    addresses = [word.split("/")[0] for line in listed.splitlines() for word in line.split()[2:]]
    story.check("127.0.0.1" in addresses and len(addresses) >= 4, f"h1 has only the addresses {addresses}")
    for address in addresses:
        said = story.on("h1", "curl", "-sS", "--max-time", "3", f"http://{address}:{PORT}/")
        story.check("this is nginx" in said, f"no answer at {address}")
    said = story.on("h2", "curl", "-sS", "--max-time", "3", f"http://h1:{PORT}/")
    story.check("this is nginx" in said, "no answer on h2")
    story.check("hello 198.18.0.12" in said, "nginx does not see the address of h2")
    story.shows(
        f"answered at all {len(addresses)} addresses of h1 and on h2, whose own address nginx sees; no proxy runs"
    )


def isolation(story: Story, web: str) -> None:
    """Networks are apart until they are joined."""
    story.step("Isolation: red does not reach blue, until bob is connected to it")
    story.on("h1", "fairlead", "exec", "bob", "curl", "-sS", "--max-time", "1", f"http://{web}/", ok=False)
    story.shows("alice reached the same address in step 4; from red the connection fails")
    story.on("h1", "fairlead", "network", "connect", "blue", "bob")
    story.on("h1", "fairlead", "exec", "bob", "curl", "-sS", "--max-time", "2", "http://web/")
    story.on("h1", "fairlead", "network", "disconnect", "blue", "bob")
    story.on("h1", "fairlead", "exec", "bob", "curl", "-sS", "--max-time", "1", f"http://{web}/", ok=False)
    story.shows("connected while it runs, bob reaches web by name; disconnected, it is apart again")


def crash(story: Story, directory: Path, wanted: str) -> None:
    """A daemon dies and comes back under a download."""
    story.step("A crash: the daemon of h1 is killed with -9 while h2 downloads through it")
    got = directory / "got"
    command = ["curl", "-sS", "--limit-rate", RATE, "--max-time", "40", "-o", str(got), f"http://h1:{PORT}/big"]
    story.tell("h2", *command)
    with subprocess.Popen(story.entry("h2", *command), stdin=subprocess.DEVNULL) as download:
        try:
            _crash_under(story, download, got)
            code = download.wait(timeout=60)
        finally:
            download.kill()
    story.check(code == 0, f"the download ended with exit code {code}")
    size, digest = got.stat().st_size, hashlib.sha256(got.read_bytes()).hexdigest()
    story.check(digest == wanted, f"the file arrived damaged ({size} bytes)")
    listed = story.on("h1", "fairlead", "ps")
    story.check(all(name in listed for name in ("web", "alice", "bob", "carol")), "the daemon has lost containers")
    story.on("h1", "fairlead", "exec", "alice", "ping", "-c", "1", "-W", "2", "web")
    story.shows(f"all {size} bytes arrived with the right checksum; the new daemon found its four containers")


def _crash_under(story: Story, download: subprocess.Popen[bytes], got: Path) -> None:
    def size() -> int:
        return got.stat().st_size if got.exists() else 0

    story.until(lambda: size() > 1024 * 1024, "the download does not begin")
    story.here("fairlead", "lab", "stop", "--name", LAB, "--signal", "KILL", "h1")
    at_death = size()
    story.here("fairlead", "lab", "status", "--name", LAB)
    story.until(lambda: size() > at_death, "the download stands still without the daemon")
    story.shows(f"dead after {at_death >> 20} MiB of {FILE_BYTES >> 20}; the download goes on without it")
    story.here("fairlead", "lab", "start", "--name", LAB, "h1")
    story.check(download.poll() is None, "the download was over before the daemon was back; it proves nothing")
    story.shows(f"a new daemon serves after {size() >> 20} MiB")


def gone(story: Story, before: set[str]) -> None:
    """Nothing is left."""
    story.step("Everything gone")
    made = frozenset(story.on("h1", "fairlead", "ps", "--quiet", "--no-trunc").split())
    story.check(len(made) == 4, "four containers were to be removed")
    story.on("h1", "fairlead", "rm", "-f", "web", "alice", "bob", "carol")
    story.on("h1", "fairlead", "network", "rm", "blue", "red")
    left = [line.split()[0] for line in story.on("h1", "ip", "-brief", "link").splitlines()]
    story.check(not [name for name in left if name.startswith(("br-", "veth"))], "h1 still has their links")
    story.here("fairlead", "lab", "down", "--name", LAB)
    story.until(lambda: not (traces(made) - before), f"left behind: {sorted(traces(made) - before)}")
    story.shows("no process, link, rule, mount, control group or file of the demo is left")


def lab_base() -> str:
    """Where labs are kept."""
    return os.environ.get("FAIRLEAD_LAB_DIR", "/run/fairlead/lab")


def traces(made: frozenset[str] = frozenset()) -> set[str]:
    """What a careless lab would leave on the machine, one line each; ``made`` are identifiers of its containers."""
    found = {f"directory {path}" for path in (f"{lab_base()}/{LAB}",) if Path(path).exists()}
    found |= {f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if f"/{LAB}/" in line}
    found |= {f"control group {path}" for path in Path("/sys/fs/cgroup").glob("*/fairlead/*") if path.name in made}
    for command in (["ip", "-o", "link"], ["nft", "list", "ruleset"]):
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found |= {f"{command[0]} {line}" for line in text.splitlines()}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ") if entry.name.isdigit() else b""
        except OSError:
            continue
        if f"{lab_base()}/{LAB}/".encode() in words:
            found.add(f"process {entry.name} {words.decode(errors='replace')}")
    return found


if __name__ == "__main__":
    sys.exit(main())
