"""The emulated machine: what it needs, how it is booted, how it ends.

The folder it shares with its guest holds ``compiled`` (modules of the checkout, compiled out here), ``boot`` (what the
emulator and virtme-ng print), ``console`` (what the guest's command prints), ``status`` (the command's exit code) and, at
last, ``ended`` (how the machine ended). The tests' lane adds ``wanted`` (the chosen tests, one a line) and ``reports``
(what the guest's pytest says, one report a line).
"""

from __future__ import annotations

import os
import py_compile
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).with_name("guest.sh")

#: What the guest imports out of the checkout.
COMPILED = ("src", "tests/kernel", "tests/lane", "tests/vm", "bench")
#: Where ``./run`` unpacks Debian's kernel package; the newest there is booted.
KERNELS = Path("/var/cache/fairlead/kernels")
#: Processors of the guest: each is a thread of the emulator.
PROCESSORS = 2
#: Memory of the guest: its files in memory too. Two lab hosts with daemons and containers take a third of it.
MEMORY = "3G"
#: Guards against faults of real processors only slow an emulated one down; of its log, errors are enough.
KERNEL_OPTIONS = "mitigations=off quiet loglevel=4"
#: The emulator is 10 to 20 times slower than the processor it runs on. What tests wait for is far more than it takes
#: there, so this many times as much is enough here.
PATIENCE = 4
#: Seconds without a word from the guest after which it counts as hanging.
SILENCE_S_MAX = 1200.0
#: Seconds between two looks at the guest.
LOOK_S = 0.5
#: Seconds that an emulator has to end by itself.
END_S_MAX = 10.0
#: Lines of output worth showing when a guest died.
TAIL_LINES = 40
#: Programs without which nothing is booted, and the Debian package of each.
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod"}


def kernel() -> Path | None:
    """The newest kernel image that is unpacked here."""
    return max(KERNELS.glob("*/boot/vmlinuz-*"), key=lambda image: image.stat().st_mtime, default=None)


def missing() -> str:
    """Why no machine can be emulated here; empty when one can."""
    lacking = [package for program, package in PROGRAMS.items() if shutil.which(program, path=_path()) is None]
    if lacking:
        return f"Debian packages are missing: {' '.join(lacking)}; ./run test installs them"
    if kernel() is None:
        return f"there is no Debian kernel below {KERNELS}; ./run test --vm fetches one for amd64"
    if not _vng().exists():
        return "virtme-ng is missing in .venv; ./run test installs it"
    return "" if os.geteuid() == 0 else "needs root; run it by ./run test"


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def _vng() -> Path:
    return Path(sys.executable).with_name("vng")


def _compile(target: Path) -> None:
    """Compile the modules that the guest imports, as a tree to lay over the files outside: the guest would take a minute
    for it, and a checkout need not have them."""
    for room in COMPILED:
        for source in (ROOT / room).rglob("*.py"):
            place = target / source.parent.relative_to("/") / "__pycache__"
            place.mkdir(parents=True, exist_ok=True)
            name = f"{source.stem}.{sys.implementation.cache_tag}.pyc"
            py_compile.compile(str(source), str(place / name), quiet=2)  # what does not compile is told by its import


class Machine:
    """One emulated machine, booted when it is made, for one command; its folder must not go before it."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._folder = folder
        image = kernel()
        assert image is not None, missing()
        _compile(folder / "compiled")
        with (folder / "boot").open("wb") as output:
            self._process = subprocess.Popen(
                self._boot_command(image, command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=os.environ
                # virtme-ng finds its other half by PATH, keeps a cache at home, and forgets temporary files
                | {"PATH": f"{_vng().parent}:{_path()}", "HOME": str(folder), "TMPDIR": str(folder)},
                start_new_session=True,
            )
        self._watch = threading.Thread(target=self._attend, name="emulated machine", daemon=True)
        self._watch.start()

    def _boot_command(self, image: Path, command: Sequence[str]) -> list[str]:
        modules = image.parent.parent / "lib" / "modules" / image.name.removeprefix("vmlinuz-")
        script = ["sh", str(GUEST), str(modules), str(ROOT), str(PATIENCE), *command]
        shares = [
            f"-virtfs local,path={path},mount_tag={tag},security_model=none,multidevs=remap{more}"
            for tag, path, more in (
                ("outside", "/", ",readonly=on"),
                ("compiled", self._folder / "compiled", ",readonly=on"),
                ("lane", self._folder, ""),
            )
        ]
        return [
            *(str(_vng()), "--run", str(image), "--disable-kvm", "--force-9p", "--verbose"),
            *("--user", "root", "--name", "debian"),
            *("--append", KERNEL_OPTIONS, "--cpus", str(PROCESSORS), "--memory", MEMORY),
            *(f"--qemu-opts={share}" for share in shares),
            *("--", shlex.join(script)),
        ]

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return (self._folder / "ended").exists()

    @property
    def status(self) -> int:
        """Exit code of the command; 255 when it did not get so far."""
        file = self._folder / "status"
        return int(file.read_text()) if file.exists() else 255

    def close(self) -> None:
        """End it, at once if need be; what it has said stays in its folder."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
        self._watch.join(END_S_MAX)
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._watch.join(END_S_MAX)

    def _attend(self) -> None:
        """Wait for the end of the machine, bring it about when it is silent for too long, and write down why it was."""
        said, since, reason = 0, time.monotonic(), ""
        while self._process.poll() is None:
            size = sum(self._size(name) for name in ("boot", "console", "reports"))
            if size != said:
                said, since = size, time.monotonic()
            elif time.monotonic() - since > SILENCE_S_MAX:
                reason = f"said nothing for {SILENCE_S_MAX:.0f} s and was ended"
                self._signal(signal.SIGKILL)
            time.sleep(LOOK_S)
        self._signal(signal.SIGKILL)  # what virtme-ng may have left of its session
        reason = reason or f"ended with status {self._process.returncode}"
        ready = self._folder / "ended.new"
        ready.write_text(f"the emulated machine {reason}\n{self.tail()}\n")
        ready.rename(self._folder / "ended")

    def _size(self, name: str) -> int:
        file = self._folder / name
        return file.stat().st_size if file.exists() else 0

    def tail(self) -> str:
        """The end of what the machine and its command have printed."""
        lines = []
        for name in ("boot", "console"):
            file = self._folder / name
            text = file.read_text(errors="replace") if file.exists() else ""
            lines += [f"{name}: {line}" for line in text.splitlines()[-TAIL_LINES:]]
        return "\n".join(lines)

    def _signal(self, what: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, what)
        except ProcessLookupError:
            return
