"""Low file descriptors, kept for a library that cannot use others.

libnftables waits for the kernel with select(2), whose sets end at descriptor 1023; glibc ends the whole process when a
higher one is put in. A node that publishes a thousand ports, or serves names to some hundreds of sandboxes, has more
files open than that. So a few low descriptors are taken early, when low ones are still free, and given up one at a time
just before the library opens its socket: Linux always hands out the lowest descriptor that is free.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

#: The first descriptor that select(2) cannot take: FD_SETSIZE, <sys/select.h>.
SELECT_MAX = 1024
#: Descriptors that are kept: one for each context at a time (two: the node's own and a sandbox's), and some in case
#: other threads open files at the wrong moment.
SPARES = 8

_NETFILTER = 12  # <linux/netlink.h>


class LowDescriptors:
    """The reserve of a process. Used by one thread at a time; other threads may open and close files meanwhile."""

    def __init__(self) -> None:
        self._spares: list[int] = []
        self.refill()

    def spend(self) -> int:
        """Free the lowest and tell which it was. Raises ``OSError`` when there is none."""
        self.refill()
        if not self._spares:
            raise OSError(errno.EMFILE, "no file descriptor below 1024 is free, and libnftables needs one")
        spare = self._spares.pop(0)
        os.close(spare)
        return spare

    def refill(self) -> None:
        """Take low descriptors up to the number that is kept, as far as there are any."""
        while len(self._spares) < SPARES:
            found = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            if found >= SELECT_MAX:
                os.close(found)
                return
            self._spares.append(found)
            self._spares.sort()

    @property
    def full(self) -> bool:
        """Whether as many are kept as should be."""
        return len(self._spares) >= SPARES

    def close(self) -> None:
        """Let all go."""
        while self._spares:
            os.close(self._spares.pop())


def went_low(spent: int) -> bool:
    """Whether a netfilter socket that was opened after ``spend`` is at the descriptor given up, or below it. Otherwise
    another thread was faster, and the socket may be anywhere."""
    try:
        os.fstat(spent)
    except OSError:
        return True  # still free: there was one still lower
    return is_netfilter(spent)


def is_netfilter(descriptor: int) -> bool:
    """Whether a descriptor is a netfilter socket; one that is free is none."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return found.family == socket.AF_NETLINK and found.proto == _NETFILTER
