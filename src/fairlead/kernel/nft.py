"""libnftables through ctypes: one context for each namespace, whole transactions in nft's own grammar.

A context belongs to the namespace in which it was made, and to one thread at a time.

A table may have an owner (Linux 5.12): the netlink socket that made it. Nobody else can change or delete such a table;
``nft flush ruleset`` passes it over. With ``persist`` (Linux 6.9) it stays when the owner ends, and can be taken over by
the next one. Debian 12's nft cannot write that flag, so this message is sent here, through the library's own socket.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import struct
from fcntl import F_DUPFD_CLOEXEC, fcntl
from types import TracebackType
from typing import Any

from fairlead.kernel import messages as m
from fairlead.kernel.descriptors import LowDescriptors, is_netfilter, went_low
from fairlead.kernel.errno import Refused, from_nft, refused

#: The ABI that Debian 11 to 13 and Ubuntu 20.04 to 24.04 ship.
_LIBRARY = "libnftables.so.1"
#: Output flags, <nftables/libnftables.h>.
_JSON, _TERSE = 1 << 4, 1 << 11
#: Between two statements. One line, because nft marks faults in the first line only.
_GAP = "; "
#: <linux/netfilter/nfnetlink.h>, <linux/netfilter/nf_tables.h>: messages, the subsystem, attributes and flags of tables.
_BATCH_BEGIN, _BATCH_END, _SUBSYSTEM, _NEW_TABLE = 16, 17, 10, 10 << 8
_TABLE_NAME, _TABLE_FLAGS = 1, 2
_FLAG_OWNER, _FLAG_PERSIST = 2, 4
#: struct nfgenmsg: family, version, resource id in network byte order.
_GENERIC = struct.Struct("!BBH")
#: Families as nft names them and as messages do, <linux/netfilter.h>.
_FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
#: What a kernel says that knows tables, but not these flags, or not for this socket.
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL})


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(_LIBRARY)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("nft_ctx_new", pointer, (ctypes.c_uint32,)),
        ("nft_ctx_free", None, (pointer,)),
        ("nft_ctx_buffer_output", number, (pointer,)),
        ("nft_ctx_buffer_error", number, (pointer,)),
        ("nft_ctx_get_output_buffer", text, (pointer,)),
        ("nft_ctx_get_error_buffer", text, (pointer,)),
        ("nft_ctx_output_set_flags", None, (pointer, ctypes.c_uint)),
        ("nft_ctx_set_dry_run", None, (pointer, ctypes.c_bool)),
        ("nft_run_cmd_from_buffer", number, (pointer, text)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Nft:
    """A context in the namespace that the calling thread is in. Loads the library at the first use; raises ``OSError``
    when it is not installed."""

    _library: ctypes.CDLL | None = None
    _reserve: LowDescriptors | None = None

    def __init__(self) -> None:
        if Nft._library is None:
            Nft._library = _load()
        self._nft = Nft._library
        self._descriptor = -1
        self._context = self._new_context()
        self._nft.nft_ctx_buffer_output(self._context)
        self._nft.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Nft:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the context."""
        if self._context:
            self._nft.nft_ctx_free(self._context)
            self._context = 0

    def free(self) -> int:
        """Free the context but for its socket: a descriptor of it to close, anywhere and at any time, or -1. Closing the
        last one waits until what the last transaction removed is destroyed (nft_rcv_nl_event in the kernel's
        nf_tables_api.c): 15 ms, measured."""
        # the library may have opened another one, and this number be another file's
        known = self._descriptor >= 0 and is_netfilter(self._descriptor)
        left = fcntl(self._descriptor, F_DUPFD_CLOEXEC, 0) if known else -1
        self.close()
        return left

    def forget(self) -> None:
        """Let go of what the library remembers of the kernel's tables: 640 KiB for each table, however small, and out of
        date after the next change. A rehearsal is what it forgets after."""
        self._nft.nft_ctx_set_dry_run(self._context, True)
        self._run("", 0)
        self._nft.nft_ctx_set_dry_run(self._context, False)

    @classmethod
    def has_spares(cls) -> bool:
        """Whether as many low descriptors are kept ready as there should be: then one more context can stay."""
        if cls._reserve is None:
            return False
        cls._reserve.refill()
        return cls._reserve.full

    @property
    def port(self) -> int:
        """The netlink port of the library's socket, by which others see whose a message or table is; 0 when unknown."""
        if self._descriptor < 0:
            return 0
        with socket.socket(fileno=os.dup(self._descriptor)) as used:
            if used.family != socket.AF_NETLINK:
                return 0
            if not used.getsockname()[0]:
                used.bind((0, 0))  # else the kernel chooses at the first message
            return int(used.getsockname()[0])

    def claim(self, family: str, name: str) -> bool:
        """Make a table, or take over one without an owner, that only this context can change until it is closed; False
        when this kernel has no such tables. Raises ``Refused`` when it is another's."""
        if self._descriptor < 0:
            return False
        body = _GENERIC.pack(_FAMILIES[family], 0, 0)
        body += m.raw_attribute(_TABLE_NAME, name.encode() + b"\0")
        body += m.raw_attribute(_TABLE_FLAGS, (_FLAG_OWNER | _FLAG_PERSIST).to_bytes(4, "big"))
        edge = _GENERIC.pack(0, 0, _SUBSYSTEM)
        parts = ((_BATCH_BEGIN, 0, edge), (_NEW_TABLE, m.NLM_F_CREATE | m.NLM_F_ACK, body), (_BATCH_END, 0, edge))
        batch = b"".join(
            m.HEADER.pack(m.HEADER.size + len(data), kind, 1 | flags, number, 0) + data  # 1: NLM_F_REQUEST
            for number, (kind, flags, data) in enumerate(parts)
        )
        with socket.socket(fileno=os.dup(self._descriptor)) as used:
            used.send(batch)
            # the kernel has answered before the send returns
            answer = used.recv(65536, socket.MSG_DONTWAIT)
        code = -int.from_bytes(answer[m.HEADER.size : m.HEADER.size + 4], "little", signed=True)
        if code == errno.EPERM:
            raise Refused(
                f"cannot take the table {family} {name}: another process owns it, or we may not",
                number=code,
                hint="run one Fairlead for each network namespace, as root; `nft list tables` names the owner",
            )
        if code and code not in _UNSUPPORTED:
            raise refused(f"take the table {family} {name}", code)
        return code == 0

    def run(self, script: str) -> str:
        """Carry all statements (one a line) out in one transaction, or none; what nft prints. Raises ``Refused``."""
        return self._run(script, 0)

    def run_json(self, script: str) -> list[dict[str, Any]]:
        """What a list command prints, as nft's JSON objects. Raises ``Refused``."""
        answer = json.loads(self._run(script, _JSON) or "{}")
        found: list[dict[str, Any]] = answer.get("nftables", [])
        return found

    def run_json_terse(self, script: str) -> list[dict[str, Any]]:
        """As ``run_json``, without the elements of sets. Raises ``Refused``."""
        found: list[dict[str, Any]] = json.loads(self._run(script, _JSON | _TERSE) or "{}").get("nftables", [])
        return found

    def run_terse(self, script: str) -> str:
        """What a list command prints, without the elements of sets. Raises ``Refused``."""
        return self._run(script, _TERSE)

    def _new_context(self) -> int:
        if Nft._reserve is None:
            Nft._reserve = LowDescriptors()
        while True:
            spent = Nft._reserve.spend()
            context: int | None = self._nft.nft_ctx_new(0)
            if not context:
                raise OSError("libnftables: no memory for a context")
            if went_low(spent):
                self._descriptor = spent if is_netfilter(spent) else -1
                return context
            self._nft.nft_ctx_free(context)

    def _run(self, script: str, flags: int) -> str:
        self._nft.nft_ctx_output_set_flags(self._context, flags)
        statements = script.splitlines()
        result = self._nft.nft_run_cmd_from_buffer(self._context, _GAP.join(statements).encode())
        output: bytes = self._nft.nft_ctx_get_output_buffer(self._context) or b""
        complaint: bytes = self._nft.nft_ctx_get_error_buffer(self._context) or b""
        if result != 0:
            raise from_nft(complaint.decode(errors="replace"), statements, len(_GAP))
        return output.decode(errors="replace")
