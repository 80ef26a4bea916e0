from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

from fairlead.lab import identity


def test_a_living_process_is_recognised() -> None:
    me = identity.identify(os.getpid())
    assert me is not None
    assert me.is_alive()


def test_a_stranger_with_the_same_number_is_not() -> None:
    me = identity.identify(os.getpid())
    assert me is not None
    assert not dataclasses.replace(me, started_ticks=me.started_ticks - 1).is_alive()
    assert not dataclasses.replace(me, boot="another").is_alive()


def test_a_process_that_has_ended_is_not_alive_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        known = identity.identify(child.pid)
        descriptor = os.pidfd_open(child.pid)
        child.kill()
        assert identity.wait_end(descriptor, 10)
        os.close(descriptor)
        assert known is not None
        assert not known.is_alive()


def test_what_is_saved_is_loaded_and_rubbish_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "daemon.pid"
    assert identity.load(str(path)) is None
    me = identity.identify(os.getpid())
    assert me is not None
    identity.save(str(path), me)
    assert identity.load(str(path)) == me
    path.write_text("{")
    assert identity.load(str(path)) is None
