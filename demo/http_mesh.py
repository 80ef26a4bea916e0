"""The demo's part about the HTTP mesh: two shops behind one port of every host, told apart by host name."""

from __future__ import annotations

from pathlib import Path

from demo.story import Story

NETWORK = "fairlead-http"
SHOPS = ("bread", "cheese")
HOSTS = ("h1", "h2", "h3")

#: A shop's web server. It says who it is and whom it serves.
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
        location / {{ return 200 "{shop} from $hostname for $http_x_forwarded_for\\n"; }}
    }}
}}
"""


def open_shops(story: Story, directory: Path) -> None:
    """Two services on one port by host name, fetched from each host."""
    story.step("HTTP by host name: two services behind port 80 of every host")
    story.on("h1", "fairlead", "http-mesh", "enable")
    for shop in SHOPS:
        file = directory / f"{shop}.conf"
        file.write_text(NGINX.format(shop=shop))
        words = ["--detach", "--replicas", "2", "--network", NETWORK, "--label", f"fairlead.http.host={shop}.test"]
        story.on("h1", "fairlead", "service", "create", "--name", shop, *words, "host", "nginx", "-c", str(file))
    for host in HOSTS:
        story.until(lambda host=host: _open(story, host), f"not both shops are open on {host}")  # type: ignore[misc]
    for asker, asked in zip(HOSTS, (*HOSTS[1:], HOSTS[0]), strict=True):
        for shop in SHOPS:
            said = story.on(asker, "curl", "-4sS", "--max-time", "5", "-H", f"Host: {shop}.test", f"http://{asked}/")
            story.check(said.startswith(f"{shop} from "), f"{asked} did not lead {asker} to {shop}")
            story.check(f"for 198.18.0.1{asker[1:]}" in said, f"{shop} does not know that {asker} asks")
    story.on("h2", "fairlead", "http-mesh", "status")
    story.shows("any host leads to any shop; the shop learns the client's own address")


def move(story: Story) -> None:
    """A label changes while it runs, and a name that nobody has is told so."""
    story.on("h1", "fairlead", "service", "update", "--detach", "--label-add", "fairlead.http.host=milk.test", "cheese")
    for host in HOSTS:
        story.until(lambda host=host: _says(story, host, "milk").startswith("cheese "), f"{host} knows no milk")  # type: ignore[misc]
    story.on("h3", "curl", "-sS", "--max-time", "5", "-H", "Host: milk.test", "http://h1/")
    story.until(lambda: "cheese.test" in _says(story, "h2", "cheese"), "who asks for nobody is not told so")
    story.shows("a label is all it takes; no task and no proxy was started anew for it")


def close_shops(story: Story) -> None:
    """All of it goes."""
    story.on("h1", "fairlead", "service", "rm", *SHOPS)
    story.on("h1", "fairlead", "http-mesh", "disable")
    for host in HOSTS:
        story.until(lambda host=host: not story.ask(host, "fairlead", "sandbox", "ls", "-q"), f"{host} has a proxy")  # type: ignore[misc]
        story.until(lambda host=host: not _tasks_on(story, host), f"{host} still has tasks")  # type: ignore[misc]
    story.on("h1", "fairlead", "network", "rm", NETWORK)


def _open(story: Story, host: str) -> bool:
    return all(_says(story, host, shop).startswith(f"{shop} ") for shop in SHOPS)


def _says(story: Story, host: str, shop: str) -> str:
    return story.ask(host, "curl", "-s", "--max-time", "5", "-H", f"Host: {shop}.test", "http://127.0.0.1/")


def _tasks_on(story: Story, host: str) -> str:
    label = "label=com.docker.swarm.service.name="
    return "".join(story.ask(host, "fairlead", "ps", "-q", "--filter", f"{label}{shop}") for shop in SHOPS)
