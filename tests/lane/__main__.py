"""Run a command in the emulated machine, and show what it prints: ``python -m tests.lane COMMAND [ARGUMENT...]``."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.lane.machine import LOOK_S, Machine, missing


def main(command: list[str]) -> int:
    """The command's exit code; 255 when the machine did not get so far."""
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    reason = missing()
    if reason:
        print(f"the emulated kernel cannot be booted: {reason}", file=sys.stderr)
        return 255
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the machine ends with us
    with tempfile.TemporaryDirectory(prefix="fairlead-lane-") as name:
        folder = Path(name)
        machine = Machine(folder, command)
        try:
            _follow(machine, folder / "console")
        finally:
            machine.close()
        if not (folder / "status").exists():
            print((folder / "ended").read_text(), file=sys.stderr)
        return machine.status


def _follow(machine: Machine, console: Path) -> None:
    """Show what is printed until the machine is over."""
    shown = 0
    while True:
        is_over = machine.is_over
        if console.exists():
            with console.open("rb") as file:
                file.seek(shown)
                said = file.read()
            shown += len(said)
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()
        if is_over:
            return
        time.sleep(LOOK_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
