"""How the demo speaks: a step, the command as typed, what it answered, and what that shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds one command may take; the slowest (a lab going up) takes a few.
COMMAND_S_MAX = 60.0
#: Seconds a condition may take to come true, and between two looks at it.
UNTIL_S_MAX = 20.0
LOOK_S = 0.05


class Failed(Exception):
    """A step did not hold; the message says how."""


class Story:
    """Runs commands, tells them, and stops at the first that does not do what it should."""

    def __init__(self, lab: str, steps: int) -> None:
        self.title = "before the first step"
        self._lab = lab
        self._steps = steps
        self._step = 0
        self._started = time.monotonic()
        self._bold, self._dim, self._plain = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")

    def step(self, title: str) -> None:
        """Begin a step."""
        self._step += 1
        self.title = title
        self._print(f"\n{self._bold}[{self._step}/{self._steps}] {title}{self._plain}")

    def shows(self, text: str) -> None:
        """What the last commands have shown, in plain words."""
        self._print(f"  => {text}")

    def here(self, *command: str, ok: bool = True) -> str:
        """Run a command on the machine; returns what it printed. With ``ok=False`` it must fail."""
        return self._run("$ ", list(command), list(command), ok=ok)

    def on(self, host: str, *command: str, ok: bool = True) -> str:
        """Run a command on a host of the lab, through ``fairlead lab exec``."""
        return self._run(f"{host}$ ", list(command), self.entry(host, *command), ok=ok)

    def ask(self, host: str, *command: str) -> str:
        """What a command on a host prints, without telling of it; empty when it fails."""
        done = subprocess.run(
            self.entry(host, *command),
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def entry(self, host: str, *command: str) -> list[str]:
        """The whole command line behind ``on``."""
        return ["fairlead", "lab", "exec", "--name", self._lab, host, "--", *command]

    def tell(self, host: str, *command: str) -> None:
        """Show a command that is started by other means and runs on in the background."""
        self._print(f"  {host}$ {shlex.join(command)} &")

    def check(self, holds: bool, otherwise: str) -> None:
        """Stop unless it holds."""
        if not holds:
            raise Failed(otherwise)

    def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait for a condition; stop if it does not come true in time."""
        deadline = time.monotonic() + UNTIL_S_MAX
        while not condition():
            self.check(time.monotonic() < deadline, f"{otherwise} (waited {UNTIL_S_MAX:.0f} s)")
            time.sleep(LOOK_S)

    def log_tail(self, path: str, lines: int = 20) -> None:
        """Show the end of a daemon's log."""
        if Path(path).exists():
            self._print(f"\n--- the end of {path}")
            for line in Path(path).read_text(errors="replace").splitlines()[-lines:]:
                self._print(f"  {line}")

    @property
    def seconds(self) -> float:
        """How long the story has taken so far."""
        return time.monotonic() - self._started

    def _run(self, prompt: str, shown: list[str], command: list[str], *, ok: bool) -> str:
        self._print(f"  {prompt}{shlex.join(shown)}")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMMAND_S_MAX, stdin=subprocess.DEVNULL, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"did not end within {COMMAND_S_MAX:.0f} s: {shlex.join(command)}") from None
        for line in (done.stdout + done.stderr).splitlines():
            self._print(f"    {self._dim}{line}{self._plain}")
        if ok != (done.returncode == 0):
            raise Failed(
                f"exit code {done.returncode}, {'0' if ok else 'another than 0'} was expected: {shlex.join(command)}"
            )
        return done.stdout.strip()

    def _print(self, text: str) -> None:
        print(text, flush=True)


def command_path(checkout: Path) -> None:
    """Let commands of the checkout be found by name, on the machine and on the hosts."""
    os.environ["PATH"] = f"{checkout / '.venv' / 'bin'}:{os.environ['PATH']}"
