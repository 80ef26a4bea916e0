"""HAProxy as a program of ours: started, told things while it runs, loaded anew without losing a connection.

Theory of operation. It runs as a master that supervises workers (``-W``), in the network namespace where tasks are reached.
What it listens on are sockets that we open in our own namespace and hand to it: so it answers on the host's addresses and
sees its clients' own, and while it is down connections wait instead of being refused. A reload starts a new worker with the
same sockets; the one before ends when its last connection has. Each worker has a control socket of its own, named after the
generation of its configuration, so that nothing is ever said to the wrong one. It outlives the daemon; the next one finds
it by the file ``pid`` and takes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pwd
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Internal, NetError, PortInUse, Unavailable
from fairlead.runtime.processes import STEP_TIMEOUT_S, Child, open_program, read_pid, watch_end

PROGRAM = "haproxy"
#: Connections that wait to be accepted (somaxconn bounds it): bursts, and all that come while it is started anew.
BACKLOG = 4096
#: Connections at once, at most; each takes two descriptors. Our choice.
CONNECTIONS_MAX = 20_000
#: Descriptors that are not for connections: listeners, checks, files, control sockets.
_OTHER_DESCRIPTORS = 500
#: Seconds between two looks whether it is ready, which it tells nobody.
_LOOK_S = 0.005
#: Octets of commands that are sent together, and of an answer.
_BATCH_BYTES = 8_000
_ANSWER_BYTES_MAX = 1 << 24
#: Octets of the access log at which it becomes ``access.log.1``. Our choice.
LOG_BYTES_MAX = 64 << 20
#: User that Debian's package makes for it.
USER = "haproxy"


class Haproxy:
    """One HAProxy with its files in ``directory``, reaching tasks out of the namespace at ``netns`` (empty: our own).
    ``ended`` is called when it has ended without being asked to. Methods are not to be called at the same time."""

    def __init__(self, directory: Path, netns: str, ended: Callable[[], object]) -> None:
        self.directory = directory
        self._netns = netns
        self._ended = ended
        self._listeners: dict[str, socket.socket] = {}
        self._ports: dict[str, int] = {}
        self._binds: dict[str, tuple[str, ...]] = {}
        self._forget: Callable[[], None] | None = None
        self.pid = 0

    # -- its ports

    def listen(self, ports: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
        """Open ports on all addresses of both families, by name; what HAProxy calls them. Those that are open stay as they
        are if they are the same, and are closed if not. Raises ``PortInUse``; then none is open."""
        if self._listeners and self._ports == dict(ports):
            return self._binds
        self.close_listeners()
        opened: dict[str, socket.socket] = {}
        binds: dict[str, tuple[str, ...]] = {}
        try:
            for name, port in ports.items():
                for family, word in ((socket.AF_INET, "4"), (socket.AF_INET6, "6")):
                    listener = _listener(family, port)
                    if listener is not None:
                        variable = f"FAIRLEAD_{name.upper()}_{word}"
                        opened[variable] = listener
                        binds[name] = (*binds.get(name, ()), f'"fd@${{{variable}}}"')
        except NetError:
            _close(opened.values())
            raise
        self._listeners, self._ports, self._binds = opened, dict(ports), binds
        return binds

    def close_listeners(self) -> None:
        """Give our side of the sockets up. Its own stay open."""
        _close(self._listeners.values())
        self._listeners = {}

    # -- its life

    def lay_out(self, files: Mapping[str, str]) -> None:
        """Put files there, each whole or not at all, and take certificates away that are no longer among them."""
        kept = self.directory / "certificates"
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
            kept.mkdir(exist_ok=True, mode=0o700)
            for path, text in files.items():
                write(Path(path), text)
            for old in kept.iterdir():
                if str(old) not in files:
                    old.unlink()
        except OSError as fault:
            raise Internal(f"cannot write {self.directory}: {fault.strerror}", code=codes.HAPROXY_FAILED) from fault

    async def start(self, generation: int) -> None:
        """Run with the configuration that was written; returns when it answers. Raises ``Unavailable`` if it is not
        installed or does not start, with its words."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise Unavailable(
                "HAProxy is not installed on this node",
                hint="apt-get install --no-install-recommends haproxy",
                code=codes.HAPROXY_MISSING,
            )
        args = ["nsenter", f"--net={self._netns}"] if self._netns else []
        args += [program, "-W", "-S", str(self._master), "-f", str(self._configuration)]
        self.pid = self._spawn(args)
        write(self.directory / "pid", f"{self.pid}\n")
        self._watch(os.pidfd_open(self.pid))
        await self._answers(generation, 0)

    def _spawn(self, args: list[str]) -> int:
        descriptors = {name: listener.fileno() for name, listener in self._listeners.items()}
        with open(self.directory / "access.log", "ab") as access, open(self._errors, "wb") as errors:
            child = Child(
                args,
                stdout=access,
                stderr=errors,
                pass_fds=tuple(descriptors.values()),
                environment={name: str(number) for name, number in descriptors.items()},
                folder=str(self.directory),
            )
        return child.pid

    def adopt(self) -> bool:
        """Take over the one that a former daemon started; False if it does not run. One that is in another namespace reaches
        nothing, and is ended."""
        pid = read_pid(self.directory / "pid")
        descriptor = open_program(pid, PROGRAM, str(self._configuration))
        if descriptor is None:
            return False
        if not _is_in(pid, self._netns or "/proc/self/ns/net"):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
            return False
        self.pid = pid
        self._watch(descriptor)
        return True

    async def reload(self, generation: int) -> None:
        """Load the configuration that was written; returns when the new worker answers. Raises ``Unavailable`` if it is
        refused: then the worker before goes on."""
        failed = await self._failed_reloads()
        # Said, not signalled: a signal that comes before the master waits for signals is lost. It takes the question along.
        with contextlib.suppress(Unavailable):
            await self._ask(self._master, "reload\n")
        await self._answers(generation, failed)

    async def stop(self) -> None:
        """End it with all its connections."""
        self.release()
        if self.pid:
            descriptor = open_program(self.pid, PROGRAM, str(self._configuration))
            if descriptor is not None:
                await _end(descriptor)
        self.pid = 0
        (self.directory / "pid").unlink(missing_ok=True)
        self.close_listeners()

    def release(self) -> None:
        """Let it run on, unwatched."""
        if self._forget is not None:
            self._forget()
            self._forget = None

    # -- what is said to it

    async def say(self, generation: int, commands: Iterable[str]) -> list[str]:
        """Have commands done in turn; the lines of its answers that are not empty. Raises ``Unavailable``."""
        answers = []
        for batch in _batches(commands):
            answers += (await self._ask(self._control(generation), batch)).splitlines()
        return [line.strip() for line in answers if line.strip()]

    async def metrics(self) -> str:
        """Its metrics in Prometheus' text form. Raises ``Unavailable``."""
        request = "GET /metrics HTTP/1.0\r\nHost: metrics\r\n\r\n"
        head, _, body = (await self._ask(self.directory / "metrics.sock", request)).partition("\r\n\r\n")
        if " 200 " not in head.partition("\r\n")[0]:
            raise Unavailable("HAProxy gives no metrics", code=codes.HAPROXY_FAILED)
        return body

    def trim_log(self) -> None:
        """Begin the access log anew when it is large; what it was is kept as ``access.log.1``."""
        path = self.directory / "access.log"
        with contextlib.suppress(OSError):
            if path.stat().st_size > LOG_BYTES_MAX:
                # It goes on writing to the same open file, which therefore is copied and emptied.
                shutil.copyfile(path, f"{path}.1")
                os.truncate(path, 0)

    @property
    def _master(self) -> Path:
        return self.directory / "master.sock"

    @property
    def _configuration(self) -> Path:
        return self.directory / "haproxy.cfg"

    @property
    def _errors(self) -> Path:
        return self.directory / "haproxy.log"

    def _control(self, generation: int) -> Path:
        return self.directory / f"admin-{generation}.sock"

    def _watch(self, descriptor: int) -> None:
        self.release()
        self._forget = watch_end(descriptor, self._has_ended)

    def _has_ended(self) -> None:
        self._forget, self.pid = None, 0
        self._ended()

    async def _answers(self, generation: int, failed: int) -> None:
        """Wait until the worker of that generation is there, and the master as well."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                while not await self._is_there(generation, failed):  # noqa: ASYNC110  # it tells nobody
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise self._refusal() from None
        for path in self.directory.glob("admin-*.sock"):
            if path != self._control(generation):
                path.unlink(missing_ok=True)

    async def _is_there(self, generation: int, failed: int) -> bool:
        """Raises ``Unavailable`` if it will not come."""
        try:
            refused = await self._failed_reloads() > failed
            if not refused:
                return "Pid:" in await self._ask(self._control(generation), "show info\n")
        except Unavailable:
            refused = not self.pid
        if refused:
            raise self._refusal()
        return False

    async def _failed_reloads(self) -> int:
        """How many reloads were refused in a row. Raises ``Unavailable``."""
        text = await self._ask(self._master, "show proc; quit\n")
        if "[failed: " not in text:
            raise Unavailable("HAProxy does not answer", code=codes.HAPROXY_FAILED)
        return int(text.partition("[failed: ")[2].partition("]")[0])

    def _refusal(self) -> Unavailable:
        said = _complaint(self._errors)
        return Unavailable(f"HAProxy refuses its configuration: {said}", code=codes.HAPROXY_FAILED)

    async def _ask(self, path: Path, text: str) -> str:
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(str(path))
                try:
                    writer.write(text.encode())
                    await writer.drain()
                    answer = bytearray()
                    while piece := await reader.read(1 << 16):
                        answer += piece
                        if len(answer) > _ANSWER_BYTES_MAX:
                            break
                finally:
                    writer.close()
                return answer.decode("utf-8", "replace")
        except (OSError, TimeoutError) as fault:
            raise Unavailable(f"HAProxy does not answer ({fault})", code=codes.HAPROXY_FAILED) from fault


def write(path: Path, text: str) -> None:
    """The file has the old content or the new one, and is nobody else's to read. Raises ``OSError``."""
    fresh = path.with_name(f"{path.name}.new")
    with open(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    fresh.replace(path)


def user() -> str:
    """Who HAProxy is to become; empty if there is no such user."""
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError:
        return ""


def connections_max() -> int:
    """Connections at once that the limits of this process allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = CONNECTIONS_MAX if hard == resource.RLIM_INFINITY else (hard - _OTHER_DESCRIPTORS) // 2
    return max(1, min(CONNECTIONS_MAX, allowed))


def _is_in(pid: int, namespace: str) -> bool:
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat(namespace))
    except OSError:
        return False


def _listener(family: socket.AddressFamily, port: int) -> socket.socket | None:
    """None if the host has no such family."""
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        if fault.errno == errno.EADDRNOTAVAIL:
            return None
        if fault.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} of this node is held by another program",
                hint=f"`ss -lntp sport = :{port}` shows which; or give the mesh another port",
            ) from fault
        raise Internal(f"cannot listen on port {port}: {fault.strerror}", code=codes.HAPROXY_FAILED) from fault
    return listener


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


async def _end(descriptor: int) -> None:
    """End the process behind a pidfd, gently at first; closes the descriptor."""
    ended = asyncio.Event()
    call_off = watch_end(descriptor, ended.set)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), STEP_TIMEOUT_S)
                return
    finally:
        call_off()


def _batches(commands: Iterable[str]) -> Iterable[str]:
    """Lines of commands; one with a payload is alone, since that ends the line."""
    line = ""
    for command in commands:
        if "<<" in command:
            if line:
                yield f"{line}\n"
            yield f"{command}\n"
            line = ""
        elif line and len(line) + len(command) > _BATCH_BYTES:
            yield f"{line}\n"
            line = command
        else:
            line = f"{line}; {command}" if line else command
    if line:
        yield f"{line}\n"


def _complaint(path: Path) -> str:
    """The last thing that it found wrong."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "it says nothing"
    alerts = [line for line in lines if line.startswith("[ALERT]")]
    return alerts[0].partition(": ")[2].strip() if alerts else "it ended without a word"
