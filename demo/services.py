"""The demo's third part: a shop of nginx, Redis and workers out of a Compose file; scaled, updated, rolled back, moved."""

from __future__ import annotations

from pathlib import Path

from demo.story import Story

STACK = "shop"
NETWORK = f"{STACK}_counter"
#: What the shop's customer writes when it got no answer.
NOBODY = "nobody answers"

#: The web server's configuration, once for each release.
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
        location / {{ return 200 "release {release} on $hostname\\n"; }}
    }}
}}
"""
COMPOSE = """
services:
  redis:
    image: host
    command: [redis-server, --bind, 0.0.0.0, --protected-mode, "no", --save, "", --dir, /tmp]
    networks: [counter]
    deploy:
      placement: {{constraints: [node.role == manager]}}
  worker:
    image: host
    command: [/bin/sh, -c, "while :; do redis-cli -h redis incr orders; sleep 0.2; done"]
    networks: [counter]
    init: true
    deploy: {{replicas: 2}}
  web:
    image: host
    command: [nginx, -c, "{directory}/release${{RELEASE}}.conf"]
    stop_signal: SIGQUIT
    networks: [counter]
    healthcheck:
      test: [CMD, curl, -fsS, "http://127.0.0.1/"]
      interval: 1s
    deploy:
      replicas: 2
      update_config: {{order: start-first, monitor: 1s}}
      rollback_config: {{order: start-first, monitor: 1s}}
networks:
  counter: {{driver: overlay, attachable: true}}
"""


def deploy(story: Story, directory: Path) -> None:
    """A stack out of a file."""
    story.step("A stack: nginx, Redis and two workers that count in it, out of a Compose file")
    (directory / "compose.yaml").write_text(COMPOSE.format(directory=directory).lstrip())
    for release in (1, 2):
        (directory / f"release{release}.conf").write_text(NGINX.format(release=release))
    _deploy(story, directory, release=1)
    story.until(lambda: _runs(story, redis="1/1", worker="2/2", web="2/2"), "the stack does not run")
    story.on("h1", "fairlead", "stack", "services", STACK)
    ask = f"while :; do curl -sS --max-time 3 http://web/ || echo {NOBODY}; sleep 0.1; done"
    story.on(
        "h2", "fairlead", "run", "-d", "--init", "--name", "customer", "--network", NETWORK, "host", "sh", "-c", ask
    )
    first = int(story.on("h2", "fairlead", "exec", "customer", "redis-cli", "-h", "redis", "get", "orders"))
    story.until(lambda: _orders(story) > first, "the workers do not count")
    story.on("h2", "fairlead", "exec", "customer", "redis-cli", "-h", "redis", "get", "orders")
    story.shows("each found the others by name, over three hosts; a customer on h2 asks for http://web/ from now on")


def scale(story: Story) -> None:
    """More tasks."""
    story.step("Scaled: four web servers, and a name leads to them as soon as they are healthy")
    story.on("h1", "fairlead", "service", "scale", "--detach", f"{STACK}_web=4")
    story.until(lambda: len(_addresses(story)) == 4, "the name does not lead to four tasks")
    story.on("h2", "fairlead", "exec", "customer", "dig", "+short", "tasks.web")
    story.on("h1", "fairlead", "service", "ps", f"{STACK}_web")
    story.shows("spread over the hosts by the manager; each has its address for as long as it lives")


def update(story: Story, directory: Path) -> None:
    """Another release, and back."""
    story.step("Updated one by one, and rolled back, under the eyes of the customer")
    _deploy(story, directory, release=2, replicas=4)
    story.until(lambda: _releases(story, 4) == {"2"}, "not all tasks are of release 2")
    story.on("h2", "fairlead", "exec", "customer", "curl", "-sS", "http://web/")
    story.shows("release 2 answers: a new task is healthy before an old one leaves the names, and then ends")
    story.on("h1", "fairlead", "service", "rollback", "--detach", f"{STACK}_web")
    story.until(lambda: _releases(story, 4) == {"1"}, "not all tasks are of release 1 again")
    story.on("h1", "fairlead", "service", "inspect", "--format", "{{.UpdateStatus.Message}}", f"{STACK}_web")
    story.shows("and release 1 again")


def drain(story: Story) -> None:
    """A host emptied."""
    story.step("A host drained: its tasks are made elsewhere")
    story.on("h1", "fairlead", "node", "update", "--availability", "drain", "h3")
    story.until(lambda: not _tasks_on(story, "h3"), "h3 still has tasks")
    story.until(lambda: _runs(story, redis="1/1", worker="2/2", web="4/4"), "the stack is not whole")
    story.on("h1", "fairlead", "stack", "ps", "--filter", "desired-state=running", STACK)
    story.on("h1", "fairlead", "node", "update", "--availability", "active", "h3")
    said = story.ask("h2", "fairlead", "logs", "customer").splitlines()
    answers = [line for line in said if line.startswith("release")]
    story.check({line.split()[1] for line in answers} == {"1", "2"}, "the customer did not see both releases")
    story.check(len(answers) == len(said), f"the customer was not always answered: {set(said) - set(answers)}")
    story.shows(f"the customer asked {len(said)} times since the stack began and was answered each time")


def remove(story: Story) -> None:
    """The stack goes."""
    story.step("The stack goes, with all that belongs to it")
    story.on("h2", "fairlead", "rm", "-f", "customer")
    story.on("h1", "fairlead", "stack", "rm", STACK)
    for host in ("h1", "h2", "h3"):
        story.until(lambda host=host: not _tasks_on(story, host), f"{host} still has tasks")  # type: ignore[misc]
    story.until(lambda: NETWORK not in story.ask("h1", "fairlead", "network", "ls"), "the network is still there")
    story.check(story.on("h1", "fairlead", "stack", "ls", "--format", "{{.Name}}") == "", "the stack is still there")


def _deploy(story: Story, directory: Path, *, release: int, replicas: int = 2) -> None:
    file = directory / "compose.yaml"
    file.write_text(COMPOSE.format(directory=directory).lstrip().replace("replicas: 2\n", f"replicas: {replicas}\n"))
    words = ["fairlead", "stack", "deploy", "--compose-file", str(file), STACK]
    story.on("h1", "env", f"RELEASE={release}", *words)


def _runs(story: Story, **wanted: str) -> bool:
    said = story.ask("h1", "fairlead", "service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines()
    return {f"{STACK}_{name} {count}" for name, count in wanted.items()} <= set(said)


def _orders(story: Story) -> int:
    return int(story.ask("h2", "fairlead", "exec", "customer", "redis-cli", "-h", "redis", "get", "orders") or 0)


def _addresses(story: Story) -> set[str]:
    return set(story.ask("h2", "fairlead", "exec", "customer", "dig", "+short", "tasks.web").split())


def _releases(story: Story, count: int) -> set[str]:
    """The releases that a name's addresses answer with, once they are as many as they should be."""
    addresses = _addresses(story)
    urls = [f"http://{address}/" for address in addresses]
    said = story.ask("h2", "fairlead", "exec", "customer", "curl", "-sS", "--max-time", "3", *urls).splitlines()
    return {line.split()[1] for line in said} if len(said) == len(addresses) == count else set()


def _tasks_on(story: Story, host: str) -> str:
    return story.ask(host, "fairlead", "ps", "--quiet", "--filter", f"label=com.docker.stack.namespace={STACK}")
