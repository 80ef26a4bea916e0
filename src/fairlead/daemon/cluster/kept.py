"""What a node remembers of its membership, in ``<state>/swarm/state.json``: the last thing that is written when it becomes
a member, and so what says that it is one."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import Struct

from fairlead.daemon.cluster import keepsake
from fairlead.model.cluster import DATA_PATH_PORT
from fairlead.model.errors import Internal

_STATE = "state.json"


class Joining(Struct, frozen=True):
    """A join under way: everything that it takes to go on with it after a restart."""

    token: str
    remotes: tuple[str, ...]
    availability: str


class Kept(Struct, frozen=True):
    """A membership. ``listen`` and ``port`` are where the node listens as manager, ``advertise`` and ``advertise_port`` what
    it tells others, ``managers`` are (node id, host:port). ``leads`` says that it has the cluster's records, ``removed`` that
    it was told to be out."""

    listen: str
    port: int
    advertise: str
    advertise_port: int
    data_path: str
    data_path_port: int = DATA_PATH_PORT
    node_id: str = ""
    cluster_id: str = ""
    managers: tuple[tuple[str, str], ...] = ()
    leads: bool = False
    removed: bool = False
    joining: Joining | None = None


def load(folder: Path) -> Kept | None:
    """The membership that is remembered, None when there is none. Raises ``Internal`` for a file that is damaged: a member
    that forgot itself would hold on to nothing of its networks."""
    kept = keepsake.read_value(folder / _STATE, Kept)
    if kept is None and (folder / _STATE).exists():
        raise Internal(
            f"{folder / _STATE} is damaged",
            hint="restore it from a copy, or `fairlead swarm leave --force` and join again",
        )
    return kept


def save(folder: Path, kept: Kept) -> None:
    """Remember a membership; on return it is on disk."""
    keepsake.write_value(folder / _STATE, kept)


def forget(folder: Path) -> None:
    """Remember nothing: first that there is a membership, then all the rest of it."""
    (folder / _STATE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
