"""The dependency rule and the size limits of ARCHITECTURE.md, checked on the source text.

It reads explicit imports by ``ast`` and runs nothing. Every ban states its reason in the failure, and every name in
a table here that no longer exists in the source is a failure too, so that the tables cannot rot.
"""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "fairlead"
PACKAGE = "fairlead"

MODULE_LINES_MAX = 700
FUNCTION_LINES_MAX = 70
CLASS_PUBLIC_METHODS_MAX = 12

#: Names under which homeless code collects. A helper lives with the noun it helps.
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "shared", "base", "tools"}


@dataclass(frozen=True)
class Room:
    """A top-level package: its layer, the rooms it may import, and why no others.

    ``third_party`` are the foreign distributions it may import. A room that is ``planned`` may be missing.
    """

    layer: str
    may: frozenset[str]
    reason: str
    third_party: frozenset[str] = frozenset()
    planned: bool = False


def _room(layer: str, may: str, reason: str, third_party: str = "", *, planned: bool = False) -> Room:
    return Room(layer, frozenset(may.split()), reason, frozenset(third_party.split()), planned)


_LOW = "model plan"
_L2 = "ipam drivers gossip discovery balance mesh pki"
_E = "kernel store plugins runtime api"
_FACE = "a face reaches the daemon through api.client only"

ROOMS: dict[str, Room] = {
    "model": _room("L0", "", "values know nothing but the standard library"),
    "plan": _room("L1", "model", "the vocabulary of Linux objects is below every decision"),
    "ipam": _room("L2", _LOW, "pure decisions; rooms of one layer never know each other"),
    "drivers": _room("L2", _LOW, "a driver is data in, plan out: no gossip, ipam, kernel or firewall calls"),
    "gossip": _room("L2", _LOW, "a protocol core has no peers among its siblings", "cryptography"),
    "discovery": _room("L2", _LOW, "a protocol core has no peers among its siblings", "dns"),
    "balance": _room("L2", _LOW, "service to plan, nothing else"),
    "mesh": _room("L2", _LOW, "services to a proxy's configuration, nothing else"),
    "pki": _room("L2", _LOW, "used by both ends of a session, so it knows neither", "cryptography"),
    "engine": _room("L3", f"{_LOW} {_L2}", "the engine decides; only the daemon joins it with the edges"),
    "manager": _room(
        "L3", f"{_LOW} ipam pki discovery mesh", "the manager decides for all nodes; only the daemon joins it"
    ),
    "kernel": _room("E", _LOW, "an edge does what a plan says and decides nothing", "pyroute2"),
    "store": _room("E", _LOW, "an edge keeps what a change says and decides nothing", "msgspec aiohttp"),
    "plugins": _room("E", _LOW, "an edge speaks a protocol and decides nothing", "aiohttp msgspec", planned=True),
    "runtime": _room("E", _LOW, "an edge starts programs and decides nothing", "msgspec"),
    "api": _room("E", _LOW, "an edge translates requests and decides nothing", "aiohttp msgspec"),
    "daemon": _room(
        "L4", f"{_LOW} {_L2} engine manager {_E}", "the composition root alone knows everyone", "aiohttp msgspec uvloop"
    ),
    "cli": _room("L5", f"{_LOW} api lab doctor", _FACE, "click msgspec yaml"),
    "doctor": _room(
        "L5", f"{_LOW} api kernel", "it works when the daemon is dead, so it may look itself", planned=True
    ),
    "dashboard": _room("L5", f"{_LOW} api", _FACE, planned=True),
    "lab": _room("L5", f"{_LOW} {_E}", "hosts as namespaces; daemons are started as programs, never imported"),
    "library": _room(
        "L5", f"{_LOW} daemon runtime", "a program's own node: the daemon's assembly without API and containers"
    ),
    "testing": _room(
        "T", f"{_LOW} {_L2} engine manager {_E} daemon", "fakes may know everything; only tests import them"
    ),
}

#: Edges that are narrower than the room table: importer room -> the only modules of a room it may import, and why.
NARROW: dict[tuple[str, str], tuple[frozenset[str], str]] = {
    ("cli", "api"): (frozenset({"client"}), _FACE),
    ("dashboard", "api"): (frozenset({"client"}), _FACE),
    ("lab", "api"): (frozenset({"client"}), _FACE),
    ("doctor", "api"): (frozenset({"client"}), _FACE),
    ("library", "daemon"): (frozenset({"assembly", "foreign"}), "a node, not the process around it"),
    ("library", "runtime"): (frozenset({"foreign"}), "where namespaces of other engines are found, no containers"),
    ("doctor", "kernel"): (frozenset({"observe"}), "the doctor looks, it does not touch"),
}

#: Edges beside the layers: the command line is the door to the other faces.
FACE_DOORS = {("cli", "lab"), ("cli", "doctor")}

_RANK = {"L0": 0, "L1": 1, "L2": 2, "L3": 3, "E": 3, "L4": 4, "L5": 5, "T": 6}

#: Modules that reach the world outside the process, the clock or chance. Pure rooms get ``now`` and a ``random.Random``.
IO_MODULES = frozenset(
    "asyncio socket socketserver select selectors subprocess threading multiprocessing concurrent time random secrets "
    "sqlite3 pyroute2 aiohttp signal ssl http urllib tempfile shutil pty fcntl ctypes mmap".split()
)
#: Names of ``os`` that only compute or name; everything else of it asks the machine.
OS_PURE = frozenset({"path", "PathLike", "fspath"})
IO_CALLS = frozenset({"open", "input", "print"})
#: ``random.Random`` as a type of an argument is how chance is passed in.
IO_IMPORT_ALLOWED = frozenset({("random", "Random")})
IO_LAYERS = frozenset({"E", "L4", "L5", "T"})

#: Files over a hard limit: path -> (what, how much it may be today, date, why). It may only shrink: an entry that is
#: no longer needed, or allows more than is used, fails.
EXCEPTIONS: dict[tuple[str, str], tuple[int, str, str]] = {}


@dataclass(frozen=True)
class Import:
    """One import as written: where, what module, and which name of it (empty for ``import x``)."""

    file: str
    line: int
    module: str
    name: str


@dataclass(frozen=True)
class Source:
    """One parsed file; ``path`` is relative to the package."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The top-level package the file is in; empty for the package's own files."""
        return self.path.split("/", maxsplit=1)[0] if "/" in self.path else ""

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return ".".join([PACKAGE, *self.path.removesuffix(".py").removesuffix("/__init__").split("/")]).removesuffix(
            ".__init__"
        )


@cache
def sources() -> tuple[Source, ...]:
    """Every file of the package, parsed once."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        found.append(Source(path.relative_to(SOURCE).as_posix(), text, ast.parse(text, str(path))))
    return tuple(found)


@cache
def modules() -> frozenset[str]:
    """Dotted names of every module and package of ours."""
    return frozenset(source.module for source in sources())


def imports(source: Source) -> Iterator[Import]:
    """Every explicit import of a file, wherever it stands."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(source.path, node.lineno, alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.path}:{node.lineno}: relative import; write the whole name"
            for alias in node.names:
                yield Import(source.path, node.lineno, node.module or "", alias.name)


def targets(item: Import) -> Iterator[str]:
    """The modules of ours that an import binds: ``from a import b`` is ``a.b`` when that is a module, else ``a``."""
    if item.module.split(".")[0] == PACKAGE:
        longer = f"{item.module}.{item.name}"
        yield longer if longer in modules() else item.module


def room_of(module: str) -> str:
    """The room of a dotted name of ours; empty for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def fail(faults: list[str]) -> None:
    """Show every fault at once."""
    if faults:
        pytest.fail("\n".join(["", *faults]), pytrace=False)


def test_every_room_is_in_the_table() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    fail(
        [
            f"src/fairlead/{room}: not in ROOMS; say its layer, what it may import, and why"
            for room in rooms - set(ROOMS)
        ]
    )


def test_rooms_in_the_table_exist_or_are_planned() -> None:
    missing = [room for room in ROOMS if not (SOURCE / room).is_dir()]
    unbuilt = {room for room in missing if not ROOMS[room].planned}
    # A thin first slice may not have every room yet; once the daemon stands, all unplanned rooms must.
    if (SOURCE / "daemon" / "main.py").exists():
        fail([f"ROOMS names {room}, which does not exist; delete the row or mark it planned" for room in unbuilt])
    fail(
        [
            f"{importer} -> {room} in NARROW names a room that is not in ROOMS"
            for importer, room in NARROW
            if importer not in ROOMS or room not in ROOMS
        ]
    )


def test_the_table_itself_keeps_the_layers() -> None:
    faults = []
    for name, room in ROOMS.items():
        for other in room.may:
            if _RANK[ROOMS[other].layer] >= _RANK[room.layer] and (name, other) not in FACE_DOORS:
                faults.append(
                    f"ROOMS lets {name} ({room.layer}) import {other} ({ROOMS[other].layer}): not a lower layer"
                )
            if room.layer == "E" and ROOMS[other].layer not in {"L0", "L1"}:
                faults.append(f"ROOMS lets the edge {name} import {other}: an edge imports model and plan only")
    fail(faults)


def test_rooms_import_only_what_the_table_allows() -> None:
    faults = []
    for source in sources():
        if not source.room:
            continue
        room = ROOMS.get(source.room)
        for item in imports(source):
            for target in targets(item):
                other = room_of(target)
                if not other or other == source.room or room is None:
                    continue
                if other not in room.may:
                    faults.append(f"{item.file}:{item.line}: {source.room} imports {other}: {room.reason}")
                elif (source.room, other) in NARROW:
                    allowed, reason = NARROW[source.room, other]
                    if target.removeprefix(f"{PACKAGE}.{other}").strip(".").split(".")[0] not in allowed:
                        faults.append(f"{item.file}:{item.line}: {source.room} imports {target}: {reason}")
    fail(faults)


def test_the_package_itself_imports_no_room() -> None:
    """``import fairlead`` runs before every module of every room."""
    fail(
        [
            f"{item.file}:{item.line}: imports {target}"
            for source in sources()
            if not source.room and source.path == "__init__.py"
            for item in imports(source)
            for target in targets(item)
        ]
    )


def test_third_party_libraries_stay_in_their_rooms() -> None:
    known = frozenset().union(*(room.third_party for room in ROOMS.values())) | {"yaml", "rich", "prometheus_client"}
    faults = []
    for source in sources():
        allowed = ROOMS[source.room].third_party if source.room in ROOMS else frozenset()
        for item in imports(source):
            top = item.module.split(".")[0]
            if top in known and top not in allowed and ROOMS.get(source.room, ROOMS["model"]).layer != "T":
                faults.append(
                    f"{item.file}:{item.line}: {source.room or PACKAGE} imports {top}, which is not its library"
                )
    fail(faults)


def _is_pure(source: Source) -> bool:
    room = ROOMS.get(source.room)
    return room is not None and room.layer not in IO_LAYERS and Path(source.path).name != "aio.py"


def test_pure_rooms_have_no_input_output_clock_or_chance() -> None:
    faults = []
    for source in filter(_is_pure, sources()):
        for item in imports(source):
            top = item.module.split(".")[0]
            allowed = (item.module, item.name) in IO_IMPORT_ALLOWED or (top == "os" and item.name in OS_PURE)
            if (top in IO_MODULES or top == "os") and not allowed:
                faults.append(
                    f"{item.file}:{item.line}: {top} in a pure room; pass `now`, a Random, or move it to an edge"
                )
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO_CALLS:
                faults.append(f"{source.path}:{node.lineno}: {node.func.id}() in a pure room")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"now", "utcnow"}
            ):
                faults.append(f"{source.path}:{node.lineno}: reads the clock in a pure room; take `now` as an argument")
    fail(faults)


def test_aio_is_imported_by_the_daemon_only() -> None:
    faults = []
    for source in sources():
        for item in imports(source):
            for target in targets(item):
                if target.endswith(".aio") and source.room not in {"daemon", "testing"}:
                    faults.append(f"{item.file}:{item.line}: {target} is wired by the daemon alone")
    fail(faults)


def test_testing_is_imported_by_tests_only() -> None:
    fail(
        [
            f"{item.file}:{item.line}: imports {target}; fakes stay out of the product"
            for source in sources()
            if source.room != "testing"
            for item in imports(source)
            for target in targets(item)
            if room_of(target) == "testing"
        ]
    )


def test_no_import_inside_a_function_and_no_type_checking_import() -> None:
    """Both hide an edge of the graph. The command line loads its commands by name instead, which is data."""
    faults = []
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        faults.append(
                            f"{source.path}:{inner.lineno}: import inside a function; a thing is in the wrong room"
                        )
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                if name == "TYPE_CHECKING":
                    faults.append(f"{source.path}:{node.lineno}: TYPE_CHECKING import; a thing is in the wrong room")
    fail(sorted(set(faults)))


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """One cycle of a graph, or nothing."""
    done: set[str] = set()
    for start in sorted(graph):
        stack: list[tuple[str, Iterator[str]]] = [(start, iter(sorted(graph[start])))]
        on_path = [start]
        while stack and start not in done:
            node, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                done.add(node)
                stack.pop()
                on_path.pop()
            elif following in on_path:
                return [*on_path[on_path.index(following) :], following]
            elif following not in done:
                stack.append((following, iter(sorted(graph.get(following, ())))))
                on_path.append(following)
    return []


def test_there_is_no_import_cycle_of_any_size() -> None:
    graph = {
        source.module: {target for item in imports(source) for target in targets(item) if target != source.module}
        for source in sources()
    }
    cycle = _cycle(graph)
    fail([" -> ".join(cycle)] if cycle else [])


def test_a_cycle_would_be_found() -> None:
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def _sizes(source: Source) -> Iterator[tuple[str, int, int]]:
    """(name of the thing, its size, its hard limit) for everything that has one."""
    yield "module", len(source.text.splitlines()), MODULE_LINES_MAX
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield f"function {node.name}", (node.end_lineno or first) - first + 1, FUNCTION_LINES_MAX
        elif isinstance(node, ast.ClassDef) and not _is_protocol(node):
            public = {
                item.name
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
            }
            yield f"class {node.name}", len(public), CLASS_PUBLIC_METHODS_MAX


def _is_protocol(node: ast.ClassDef) -> bool:
    """A contract lists what a whole room offers; its implementations are counted."""
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


def test_sizes_stay_below_the_hard_limits() -> None:
    faults = []
    used = {}
    for source in sources():
        for what, size, limit in _sizes(source):
            if size > limit:
                key = (source.path, what)
                used[key] = size
                if size > EXCEPTIONS.get(key, (limit, "", ""))[0]:
                    faults.append(
                        f"{source.path}: {what} has size {size}, the hard limit is {limit}; split it by family"
                    )
    for key, (allowed, date, reason) in EXCEPTIONS.items():
        datetime.date.fromisoformat(date)
        assert reason
        if used.get(key, 0) < allowed:
            faults.append(f"EXCEPTIONS {key}: allows {allowed}, {used.get(key, 0)} is used; the list may only shrink")
    fail(faults)


def test_every_package_states_its_promise() -> None:
    faults = []
    for directory in sorted({path.parent for path in SOURCE.rglob("*.py")}):
        init = directory / "__init__.py"
        if not init.exists():
            faults.append(f"{directory.relative_to(SOURCE)}/: no __init__.py")
        elif not ast.get_docstring(ast.parse(init.read_text())):
            faults.append(f"{init.relative_to(SOURCE)}: no docstring; say what the room knows and must not know")
    fail(faults)


def test_every_public_name_has_a_docstring() -> None:
    faults = []
    for source in sources():
        if not ast.get_docstring(source.tree) and source.text.strip():
            faults.append(f"{source.path}: no module docstring")
        scopes: list[ast.Module | ast.ClassDef] = [source.tree]
        while scopes:
            for node in scopes.pop().body:
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    continue
                if node.name.startswith("_") or _is_overload(node):
                    continue
                if not ast.get_docstring(node):
                    faults.append(f"{source.path}:{node.lineno}: {node.name} has no docstring")
                if isinstance(node, ast.ClassDef):
                    scopes.append(node)
    fail(faults)


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(
        (isinstance(item, ast.Name) and item.id in {"overload", "override"})
        or (isinstance(item, ast.Attribute) and item.attr in {"overload", "override", "setter"})
        for item in node.decorator_list
    )


def test_no_room_for_homeless_code() -> None:
    fail(
        [
            f"{source.path}: a module named for nothing in particular; a helper lives with the noun it helps"
            for source in sources()
            if set(re.split(r"[/.]", source.path)) & BANNED_NAMES
        ]
    )


def test_environment_is_read_above_the_daemon_only() -> None:
    faults = []
    for source in sources():
        room = ROOMS.get(source.room)
        if room is None or room.layer in {"L4", "L5", "T"}:
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
                faults.append(f"{source.path}:{node.lineno}: reads the environment; settings are passed down")
    fail(faults)
