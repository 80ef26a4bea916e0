"""libnftables through ctypes: one context for each namespace, whole transactions in nft's own grammar.

A context belongs to the namespace in which it was made, and to one thread at a time.
"""

from __future__ import annotations

import ctypes
import json
from types import TracebackType
from typing import Any

from fairlead.kernel.descriptors import LowDescriptors, went_low
from fairlead.kernel.errno import from_nft

#: The ABI that Debian 11 to 13 and Ubuntu 20.04 to 24.04 ship.
_LIBRARY = "libnftables.so.1"
#: Output flags, <nftables/libnftables.h>.
_JSON, _TERSE = 1 << 4, 1 << 11
#: Between two statements. One line, because nft marks faults in the first line only.
_GAP = "; "


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

    def run(self, script: str) -> str:
        """Carry all statements (one a line) out in one transaction, or none; what nft prints. Raises ``Refused``."""
        return self._run(script, 0)

    def run_json(self, script: str) -> list[dict[str, Any]]:
        """What a list command prints, as nft's JSON objects. Raises ``Refused``."""
        answer = json.loads(self._run(script, _JSON) or "{}")
        found: list[dict[str, Any]] = answer.get("nftables", [])
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
