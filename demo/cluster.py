"""The demo's second part: three hosts become a cluster, an overlay joins their containers, and the manager dies."""

from __future__ import annotations

from pathlib import Path

from demo.story import Story

NETWORK = "sea"
#: The hosts that join.
WORKERS = ("h2", "h3")
FETCH = ("curl", "-sS", "--max-time", "3", "http://web/")


def form(story: Story) -> None:
    """Three hosts, one cluster."""
    story.step("A cluster: h1 begins it, h2 and h3 join with a token")
    story.on("h1", "fairlead", "swarm", "init", "--advertise-addr", "198.18.0.11")
    token = story.on("h1", "fairlead", "swarm", "join-token", "-q", "worker")
    for host in WORKERS:
        story.on(host, "fairlead", "swarm", "join", "--token", token, "h1:2377")
    story.until(lambda: story.ask("h1", "fairlead", "node", "ls").count("Ready") == 3, "not all nodes are ready")
    story.on("h1", "fairlead", "node", "ls")
    story.shows("mutual TLS between all of them, certificates by the cluster's own authority; h1 is the manager")


def overlay(story: Story, directory: Path) -> None:
    """Names and traffic across hosts."""
    story.step("An overlay: containers on three hosts in one network, found by name")
    story.on("h1", "fairlead", "network", "create", "-d", "overlay", "--attachable", NETWORK)
    server = ["nginx", "-c", str(directory / "nginx.conf")]
    story.on("h2", "fairlead", "run", "-d", "--name", "web", "--network", NETWORK, "host", *server)
    story.on("h3", "fairlead", "run", "-d", "--name", "eve", "--network", NETWORK, "host", "sleep", "3600")
    story.until(lambda: "this is nginx" in story.ask("h3", "fairlead", "exec", "eve", *FETCH), "eve does not reach web")
    story.on("h3", "fairlead", "exec", "eve", "ping", "-c", "2", "-W", "2", "web")
    story.on("h3", "fairlead", "exec", "eve", "dig", "+short", "web")
    said = story.on("h1", "fairlead", "run", "--rm", "--network", NETWORK, "host", *FETCH)
    story.check("this is nginx" in said, "a container on h1 does not reach web on h2")
    story.on("h1", "fairlead", "gossip", "peers")
    story.shows("VXLAN between the hosts, made when the first container came; who is where is told by gossip, signed")


def headless(story: Story, lab: str) -> None:
    """All managers dead."""
    story.step("All managers dead: what runs goes on, and new containers come into the network")
    story.here("fairlead", "lab", "stop", "--name", lab, "--signal", "KILL", "h1")
    story.on("h3", "fairlead", "exec", "eve", *FETCH)
    story.on("h3", "fairlead", "run", "-d", "--name", "late", "--network", NETWORK, "host", "sleep", "3600")
    story.on("h3", "fairlead", "exec", "late", *FETCH)
    found = "fairlead", "exec", "eve", "dig", "+short", "late"
    story.until(lambda: story.ask("h3", *found) != "", "the new container has no name")
    story.on("h3", *found)
    story.shows("names, traffic and `run` need no manager: addresses were leased before, and gossip has no centre")
    story.here("fairlead", "lab", "start", "--name", lab, "h1")
    story.until(lambda: story.ask("h1", "fairlead", "node", "ls").count("Ready") == 3, "not all nodes are ready again")
    story.on("h1", "fairlead", "node", "ls")
    story.shows("the manager is back and found everything as it was; nothing was started anew")


def end(story: Story) -> None:
    """Leave."""
    story.step("The cluster ends: containers and networks go, the hosts leave")
    story.on("h2", "fairlead", "rm", "-f", "web")
    story.on("h3", "fairlead", "rm", "-f", "eve", "late")
    story.on("h1", "fairlead", "network", "rm", NETWORK)
    for host in WORKERS:
        story.on(host, "fairlead", "swarm", "leave")
    story.on("h1", "fairlead", "swarm", "leave", "--force")
