"""Front door of the command line: the console script ``fairlead``.

Exit codes: 0 done; 1 the daemon or the command failed; 2 the command line is wrong; 130 interrupted. ``run``, ``start
--attach`` and ``exec`` end with the container's code; ``run`` with 125 when the daemon refused, 126 when the program
cannot be executed, 127 when it is not there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

import fairlead
from fairlead.api.client import Planned
from fairlead.cli.catalog import TOP
from fairlead.cli.faults import complain
from fairlead.cli.lazy import LazyGroup
from fairlead.model.errors import NetError

#: Where a daemon answers when neither ``--host`` nor FAIRLEAD_HOST says so.
DEFAULT_HOST = "unix:///run/fairlead/fairlead.sock"
#: Exit code after Ctrl-C: 128 + SIGINT, as shells report it.
_INTERRUPTED = 130

#: Bounds of a help's width in columns, as Click's own.
_HELP_WIDTH_MAX, _HELP_WIDTH_MIN = 80, 50

_HELP = """Docker's networking, whole, for any container.

\b
Example:
  fairlead network create web
  fairlead run -d --name db --network web host sleep 1000
  fairlead run --rm --network web host ping -c 1 db
"""

root = LazyGroup("fairlead", TOP, _HELP)
root.params.append(
    click.Option(
        ["-H", "--host"],
        envvar="FAIRLEAD_HOST",
        default=DEFAULT_HOST,
        show_default=True,
        help="The daemon's socket, or tcp://HOST:PORT; also by FAIRLEAD_HOST.",
    )
)
root.params += [
    click.Option(["--tlsverify"], is_flag=True, envvar="FAIRLEAD_TLS_VERIFY", help="Mutual TLS, which tcp:// needs."),
    click.Option(["--tlscacert"], default="", metavar="PATH", help="Who signs daemons (FAIRLEAD_CERT_PATH/ca.pem)."),
    click.Option(["--tlscert"], default="", metavar="PATH", help="Our certificate (FAIRLEAD_CERT_PATH/cert.pem)."),
    click.Option(["--tlskey"], default="", metavar="PATH", help="Its key (FAIRLEAD_CERT_PATH/key.pem)."),
    click.Option(["--cert-path"], default="", envvar="FAIRLEAD_CERT_PATH", hidden=True),
]
root.params.append(
    click.Option(
        ["-v", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda ctx, _, asked: _print_version(ctx, asked=asked),
        help="Show the version of this program.",
    )
)


@click.pass_context
def _enter(ctx: click.Context, /, host: str, **tls: object) -> None:
    del tls  # ``console.client_of`` reads them where they are needed
    ctx.obj = host


root.callback = _enter


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and end the program with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; its exit code. Errors go to standard error: what, then what to do next."""
    try:
        result = root.main(arguments, prog_name="fairlead", standalone_mode=False, terminal_width=_help_width())
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NetError as error:
        return complain(error)
    except Planned as planned:
        print(*planned.lines, sep="\n")
        return 0
    except (KeyboardInterrupt, click.Abort):
        print(file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. What Python still holds for it must go somewhere at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _help_width() -> int:
    """Columns for help. Found here, since Click would import ``shutil`` for it, a tenth of what a help may take."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        columns = _HELP_WIDTH_MAX
    return max(min(columns, _HELP_WIDTH_MAX) - 2, _HELP_WIDTH_MIN)


def _print_version(ctx: click.Context, *, asked: bool) -> None:
    if asked:
        print(f"fairlead version {fairlead.__version__}")
        ctx.exit()


if __name__ == "__main__":
    main()
