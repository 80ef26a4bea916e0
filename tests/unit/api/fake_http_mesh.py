"""A node's part in the HTTP mesh as the API sees it, without a proxy."""

from __future__ import annotations

from fairlead.model.http_mesh import HttpMesh, HttpMeshSeen, RouteSeen

SEEN = HttpMeshSeen(
    HttpMesh(8080, 8443, "/etc/certs", ("192.0.2.0/24",), "ab" * 32),
    running=True,
    pid=77,
    changes=3,
    reloads=1,
    restarts=2,
    routes=(RouteSeen("web.test", "/", "web", 80, "optional", 5),),
    networks=("cd" * 32,),
    faults=("network lake: no manager answers",),
)


class FakeHttpMesh:
    """Fits ``HttpMeshView``."""

    def __init__(self) -> None:
        self.found = HttpMeshSeen()
        self.text = ""

    def seen(self) -> HttpMeshSeen:
        return self.found

    async def metrics(self) -> str:
        return self.text
