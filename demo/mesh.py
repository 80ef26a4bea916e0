"""The demo's part about published ports: one port of every host, tasks that see their clients, an update that loses nobody."""

from __future__ import annotations

from pathlib import Path

from demo.story import Story

SERVICE = "hello"
PORT = 8080
HOSTS = ("h1", "h2", "h3")
#: What the client writes when it got no answer.
NOBODY = "nobody answers"

#: The web server of a release. It says who it is and whom it sees.
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
        listen [::]:80;
        location / {{ return 200 "release {release} on $hostname to $remote_addr\\n"; }}
    }}
}}
"""


def publish(story: Story, directory: Path) -> None:
    """Three tasks on two hosts, and a port of all three."""
    story.step("A published port: three tasks on two hosts, fetched from all three, each naming who asks")
    for release in (1, 2):
        (directory / f"hello{release}.conf").write_text(NGINX.format(release=release))
    health = [
        "--health-cmd",
        "curl -fsS http://127.0.0.1/",
        "--health-interval",
        "500ms",
        "--health-start-period",
        "30s",
    ]
    update = ["--update-order", "start-first", "--update-monitor", "500ms", "--stop-signal", "SIGQUIT"]
    place = ["--replicas", "3", "--publish", f"{PORT}:80", "--constraint", "node.hostname!=h3"]
    server = ["host", "sh", "-c", f"exec nginx -c {directory}/hello$RELEASE.conf"]
    words = ["--detach", "--name", SERVICE, *place, *update, *health, "--env", "RELEASE=1"]
    story.on("h1", "fairlead", "service", "create", *words, *server)
    for asked in HOSTS:
        story.until(lambda asked=asked: len(_tasks(story, "h1", asked)) == 3, f"{asked} does not lead to three tasks")  # type: ignore[misc]
    story.on("h1", "fairlead", "service", "ps", SERVICE)
    story.check(not story.ask("h3", "fairlead", "ps", "--quiet", "--filter", f"name={SERVICE}"), "h3 has a task")
    for asker, asked in zip(HOSTS, (*HOSTS[1:], HOSTS[0]), strict=True):
        for family, own in (("-4", _address(asker)), ("-6", f"fd98:18::1{asker[1:]}")):
            said = story.on(asker, "curl", "-sS", family, "--max-time", "5", f"http://{asked}:{PORT}/")
            story.check(said.endswith(f"to {own}"), f"the task does not see {asker}")
    story.on(
        "h1", "fairlead", "service", "inspect", "--format", "{{.Endpoint.VirtualIPs}} {{.Endpoint.Ports}}", SERVICE
    )
    story.shows(
        "every host answers, h3 without a task too; the task knows the client's own address, whichever way it came"
    )


def update(story: Story) -> None:
    """Another release under load."""
    story.step("Updated under load: a client asks all three hosts all the time")
    ask = "; ".join(f"curl -sS --max-time 10 http://{_address(host)}:{PORT}/ || echo {NOBODY}" for host in HOSTS)
    loop = f"while :; do {ask}; done"
    story.on("h3", "fairlead", "run", "-d", "--init", "--name", "client", "host", "sh", "-c", loop)
    story.until(lambda: len(_answers(story)) > 10, "the client is not answered")
    story.on("h1", "fairlead", "service", "update", "--detach", "--env-add", "RELEASE=2", SERVICE)
    state = ("fairlead", "service", "inspect", "--format", "{{.UpdateStatus.State}}", SERVICE)
    story.until(lambda: story.ask("h1", *state) == "completed", "the update does not end")
    story.on("h1", *state)
    seen = len(_answers(story))
    story.until(lambda: len(_answers(story)) > seen + 10, "the client is not answered any more")
    said = _answers(story)
    lost = sum(not line.startswith("release") for line in said)
    story.check({line.split()[1] for line in said if line.startswith("release")} == {"1", "2"}, "there was no update")
    story.check(
        lost == 0, f"{lost} of {len(said)} requests were lost: {[one for one in said if 'release' not in one][:3]}"
    )
    story.shows(f"{len(said)} requests from one release to the next, lost: {lost}")
    story.on("h3", "fairlead", "rm", "-f", "client")
    story.on("h1", "fairlead", "service", "rm", SERVICE)
    for host in HOSTS:
        story.until(lambda host=host: not story.ask(host, "ip", "link", "show", "fairlead_in"), f"{host} has an entry")  # type: ignore[misc]


def _tasks(story: Story, asker: str, asked: str) -> set[str]:
    """Who answers, of enough requests."""
    anew = ("-H", "Connection: close", "--max-time", "5")
    said = story.ask(asker, "curl", "-sS", *anew, *[f"http://{asked}:{PORT}/"] * 24).splitlines()
    return {line.split()[3] for line in said}


def _answers(story: Story) -> list[str]:
    return story.ask("h3", "fairlead", "logs", "client").splitlines()


def _address(host: str) -> str:
    return f"198.18.0.1{host[1:]}"
