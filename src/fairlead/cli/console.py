"""What every command shares: the client of the daemon, filters, several targets one after the other, questions."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Concatenate, ParamSpec, TypeVar

import click

from fairlead.api.client import Client, Planned, quote
from fairlead.cli.faults import complain
from fairlead.cli.progress import waiting
from fairlead.model import codes
from fairlead.model.errors import Invalid, NetError

#: Where a context keeps what ``--dry-run`` asks for.
_DRY_RUN = "fairlead.dry-run"

#: Options that name files of TLS, and what the files are called otherwise (Docker).
_TLS_FILES = {"tlscacert": "ca", "tlscert": "cert", "tlskey": "key"}

_P = ParamSpec("_P")
_R = TypeVar("_R")


def pass_client(function: Callable[Concatenate[Client, _P], _R]) -> Callable[_P, _R]:
    """Give a command the client of the daemon that ``--host`` names, as its first argument."""

    @functools.wraps(function)
    def with_client(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        ctx = click.get_current_context()
        return function(client_of(ctx), *args, **kwargs)

    return with_client


def client_of(ctx: click.Context) -> Client:
    """The client of the daemon that the command line names; raises ``Invalid``."""
    root, dry_run = ctx.find_root(), str(ctx.meta.get(_DRY_RUN, ""))
    host, tls = str(root.obj), root.params
    if not host.startswith("tcp://"):
        return Client(host, dry_run=dry_run)
    if not tls.get("tlsverify"):
        raise Invalid(
            f"{host}: a daemon is reached over TCP with mutual TLS only",
            hint="give --tlsverify",
            code=codes.FLAG_INVALID,
        )
    remote = importlib.import_module("fairlead.cli.remote")
    folder = tls.get("cert_path") or "~/.fairlead"
    files = (tls.get(name) or f"{folder}/{usual}.pem" for name, usual in _TLS_FILES.items())
    made = remote.client(host, dry_run, *files)
    return made if isinstance(made, Client) else Client(host)


def dry_run_option(kind: str = "plan") -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """The flag ``--dry-run``: the daemon says what it would do instead of doing it. ``kind`` as ``Client`` has it."""

    def remember(ctx: click.Context, _: click.Parameter, asked: bool) -> None:  # Click's signature
        if asked:
            ctx.meta[_DRY_RUN] = kind

    words = "Print what would change, and change nothing."
    return click.option("--dry-run", is_flag=True, expose_value=False, callback=remember, help=words)


def path(noun: str, ref: str, *rest: str) -> str:
    """A path of the API for one object; raises ``Invalid`` for an empty reference."""
    if not ref.strip():
        raise Invalid(f"invalid {noun.rstrip('s')} name: it is empty", code=codes.FLAG_INVALID)
    return "/".join(["", noun, quote(ref), *rest])


def filters(given: Iterable[str]) -> str | None:
    """``--filter k=v`` options as the API takes them; raises ``Invalid``."""
    result: dict[str, dict[str, bool]] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise Invalid(
                f"invalid argument {text!r} for --filter: bad format of filter (expected name=value)",
                code=codes.FLAG_INVALID,
            )
        result.setdefault(key.strip().lower(), {})[value.strip()] = True
    return json.dumps(result) if result else None


def each(refs: Iterable[str], act: Callable[[str], str | None], *, doing: str = "") -> int:
    """Do something to each object, print what it returns, go on after errors; the exit code. ``doing`` (``stopping``)
    is shown on a terminal while it lasts."""
    code = 0
    for ref in refs:
        try:
            with waiting(f"{doing} {ref}") if doing else nullcontext():
                line = act(ref)
        except NetError as error:
            code = complain(error)
        except Planned as planned:
            print(*planned.lines, sep="\n")
        else:
            if line is not None:
                print(line)
    return code


def agreed(warning: str) -> bool:
    """Ask for a yes on the terminal; anything else is a no."""
    return click.confirm(
        f"WARNING! {warning}\nAre you sure you want to continue?", prompt_suffix=" [y/N] ", show_default=False
    )


def pairs(given: Iterable[str], *, what: str) -> dict[str, str]:
    """``k=v`` options as a dict, ``k`` alone with empty text; raises ``Invalid`` for an empty key."""
    result = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key:
            raise Invalid(f"invalid {what} {text!r}", hint="write key=value", code=codes.FLAG_INVALID)
        result[key] = value
    return result


def record(value: object) -> dict[str, object]:
    """A JSON object, empty for anything else."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def records(value: object) -> list[dict[str, object]]:
    """A JSON list of objects, empty for anything else."""
    return [record(item) for item in value] if isinstance(value, list) else []


def text(value: object) -> str:
    """JSON text, empty for null."""
    return "" if value is None else str(value)
