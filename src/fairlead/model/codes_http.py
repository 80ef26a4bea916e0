"""The numbers of what can go wrong with the HTTP mesh; used as ``codes.NAME``, like all others."""

from __future__ import annotations

from fairlead.model.code import Code

# 2200: the HTTP mesh
HTTP_LABEL_INVALID = Code(
    2201,
    "a label for the HTTP mesh makes no sense",
    "Labels that begin with fairlead.http., com.docker.ucp.mesh.http or com.docker.lb. say which requests a service gets. "
    "One of them has a form or a value that is not known. Nothing was changed.",
    ("The message names the label; docs/http-mesh.md lists all of them with their values.",),
)
HTTP_ROUTE_TAKEN = Code(
    2202,
    "another service has this route",
    "Two services ask for the same host and path, so a request could go to either. Nothing was changed.",
    (
        "Give one of them another host or path.",
        "`fairlead service inspect SERVICE` shows a service's labels.",
    ),
)
HAPROXY_MISSING = Code(
    2203,
    "HAProxy is not installed on this node",
    "The HTTP mesh needs the program haproxy (2.5 or newer) on every node; without it the node answers no HTTP requests of "
    "the mesh. Everything else works.",
    ("On Debian: apt-get install --no-install-recommends haproxy",),
)
HAPROXY_FAILED = Code(
    2204,
    "HAProxy refused its configuration or does not answer",
    "The proxy of this node could not be started or changed. What it did before, it goes on doing as long as it runs.",
    ("The message has HAProxy's words.", "The daemon's log tells more."),
)
