"""The folder of certificates: whatever happens to a file is followed, and a broken one takes nothing away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.kernel.http_mesh.certificates import pem

from fairlead.daemon.cluster.certificates import CertificateFolder

#: Seconds that anything may take.
PATIENCE_S = 30.0


def test_files_that_come_change_break_and_go_are_followed(tmp_path: Path) -> None:
    folder, first, second = tmp_path / "certs", pem("a.test"), pem("b.test")

    async def follow() -> None:
        changed = asyncio.Event()

        async def note() -> None:
            changed.set()

        found = CertificateFolder(str(folder), note)

        async def until(names: set[str], fault: str = "") -> None:
            async with asyncio.timeout(PATIENCE_S):
                while {one.name for one in found.found} != names or bool(fault) != bool(found.fault):
                    await changed.wait()
                    changed.clear()
            assert fault in found.fault

        await found.start()
        try:
            assert (found.found, "certs" in found.fault) == ((), True), "no such folder yet"
            folder.mkdir()
            await until(set())
            (folder / "a.pem").write_text(first)
            await until({"a.pem"})
            (folder / "b.pem").write_text(second)
            await until({"a.pem", "b.pem"})
            (folder / "a.pem").write_text("no certificate")  # in place: the folder does not change by it
            await until({"a.pem", "b.pem"}, "a.pem")
            assert found.found[0].pem == first
            (folder / "a.pem").write_text(second)
            await until({"a.pem", "b.pem"})
            assert found.found[0].pem == second
            (folder / "b.pem").unlink()
            await until({"a.pem"})
        finally:
            await found.close()

    asyncio.run(follow())
