"""``fairlead completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fairlead.model.errors import Internal

#: Click's name of the variable by which the shell asks for words.
_VARIABLE = "_FAIRLEAD_COMPLETE"


@click.command("completion", short_help="Print a script that completes words in your shell")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that completes commands, options and the names of networks, containers and images.

    \b
    Example:
      fairlead completion bash >/etc/bash_completion.d/fairlead
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Internal(f"no completion for {shell}", hint="bash, zsh and fish are known")
    root = click.get_current_context().find_root().command
    print(kind(root, {}, "fairlead", _VARIABLE).source())
