"""From the kernel's numbers and nft's complaints to the errors that Fairlead shows. The only place that knows both."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from fairlead.model import codes
from fairlead.model.errors import Forbidden, Internal, PortInUse
from fairlead.plan.objects import Object, PortHold, Sysctl

#: What to do next, for the numbers whose cause is known; others speak for themselves.
_HINTS = {
    errno.EPERM: "run the daemon as root, or give it CAP_NET_ADMIN and CAP_SYS_ADMIN",
    errno.EACCES: "run the daemon as root, or give it CAP_NET_ADMIN and CAP_SYS_ADMIN",
    errno.EEXIST: "something of the same name is there already and not ours: see `ip -details link`, choose another name",
    errno.ENOBUFS: "the kernel ran out of buffers; try again",
    errno.EMFILE: "raise the limit of open files of the daemon (LimitNOFILE)",
    errno.EOPNOTSUPP: "this kernel lacks a part that is needed; see the configuration of your kernel",
    errno.EADDRNOTAVAIL: "give an address that this host has",
}
#: Characters of a refused statement that are worth showing.
_STATEMENT_MAX = 160


class Refused(Internal):
    """The kernel refused ``object`` (None: the change as a whole); ``number`` is its errno, 0 when it gave none."""

    general = codes.KERNEL_REFUSED

    def __init__(self, message: str, *, item: Object | None = None, number: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint or _HINTS.get(number, ""))
        self.object = item
        self.number = number


class HostPortInUse(PortInUse):
    """The port of ``object`` is held by another process of the host."""

    general = codes.PORT_TAKEN_BY_PROGRAM

    def __init__(self, message: str, *, item: PortHold, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.object = item


class LinkInTheWay(Forbidden):
    """A link of another kind has the name that ``object`` needs."""

    general = codes.DEVICE_CLAIMED

    def __init__(self, message: str, *, item: Object) -> None:
        super().__init__(message, hint="choose another name, or remove that link")
        self.object = item


def refused(what: str, code: int, text: str = "", item: Object | None = None) -> Refused:
    """The error for an errno; ``text`` is the kernel's own explanation, when it gave one."""
    reason = os.strerror(code).lower() if code else "no reason given"
    return Refused(f"cannot {what}: {text or reason}", item=item, number=code)


def from_os(error: OSError, what: str, item: Object | None = None) -> Refused:
    """The error for a failed system call."""
    return refused(what, error.errno or 0, "" if error.errno else str(error), item)


def unsettable(item: Sysctl, error: OSError) -> Refused:
    """The error for a setting that a user asked for, in Docker's words."""
    path, reason = f"/proc/sys/{item.path}", os.strerror(error.errno or 0).lower()
    if error.errno == errno.ENOENT:
        text = f"{path} is not a sysctl file"
    else:
        text = f"unable to write to '{path}': write {path}: {reason}"
    return Refused(text, item=item, number=error.errno or 0, hint="`sysctl -a` in a container shows names and values")


def from_nft(complaint: str, statements: Sequence[str], gap: int) -> Refused:
    """The error for a refused nftables transaction: nft's own words for the first fault, and the statement that its
    mark points to. ``gap`` is the number of characters between two statements as nft was given them, in one line."""
    lines = complaint.splitlines() or ["no reason given"]
    reason = lines[0].removeprefix("Error: ")
    place = next((line.index("^") for line in lines if line.strip().startswith("^")), -1)
    for statement in statements:
        if 0 <= place < len(statement):
            return Refused(f"nftables refused the change: {reason} in `{statement[:_STATEMENT_MAX]}`")
        place -= len(statement) + gap
    return Refused(f"nftables refused the change: {reason}")


def from_bind(hold: PortHold, error: OSError) -> Refused | HostPortInUse:
    """The error for a host port that cannot be held, in Docker's words."""
    host = f"[{hold.address}]" if ":" in hold.address else hold.address
    where = f"{host}:{hold.port}/{hold.proto}"
    if error.errno == errno.EADDRINUSE:
        letter = "u" if hold.proto == "udp" else "t"
        return HostPortInUse(
            f"failed to bind host port {where}: address already in use",
            item=hold,
            hint=f"publish another port, or stop what listens there: ss -ln{letter}p 'sport = :{hold.port}'",
        )
    reason = os.strerror(error.errno or 0).lower()
    return Refused(f"failed to bind host port {where}: {reason}", item=hold, number=error.errno or 0)
