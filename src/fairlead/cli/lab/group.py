"""``fairlead lab``, and how its verbs find the lab that is meant."""

from __future__ import annotations

from fairlead.cli.lazy import Entry, LazyGroup

_HERE = "fairlead.cli.lab"

VERBS = {
    "up": Entry(f"{_HERE}.up", "Make hosts, each with a daemon"),
    "exec": Entry(f"{_HERE}.exec", "Run a command on a host"),
    "status": Entry(f"{_HERE}.status", "Show the hosts"),
    "start": Entry(f"{_HERE}.start", "Start the daemon of a host"),
    "stop": Entry(f"{_HERE}.stop", "End the daemon of a host; its containers run on"),
    "down": Entry(f"{_HERE}.down", "Remove the hosts and everything on them"),
}

command = LazyGroup(
    "lab",
    VERBS,
    """Several hosts on one machine: network namespaces on an underlay, with a daemon each.

\b
Example:
  fairlead lab up --hosts 2
  fairlead lab exec h1 -- fairlead run -d --name web -p 8080:80 host nginx -g 'daemon off;'
  fairlead lab exec h2 -- curl http://h1:8080/
  fairlead lab down
""",
)
