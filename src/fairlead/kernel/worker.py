"""The one thread that asks the kernel: a queue of jobs, and something to do when it has been idle."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_R = TypeVar("_R")
_Job = tuple["Future[object]", Callable[[], object]]


class Worker:
    """A started thread. ``idle_s()`` says after how many seconds without a job ``idle()`` is called (None: never); it is
    asked again after every job; 0 means now, though jobs may wait. ``idle`` must not raise."""

    def __init__(self, idle_s: Callable[[], float | None], idle: Callable[[], None]) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle_s = idle_s
        self._idle = idle
        self._thread = threading.Thread(target=self._work, name="fairlead-kernel", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], _R]) -> Future[_R]:
        """Run a job after those before it; its result or exception is in the future."""
        future: Future[_R] = Future()
        self._jobs.put((future, job))  # type: ignore[arg-type]  # a queue of futures of any type
        return future

    def stop(self) -> None:
        """End the thread after the jobs that are waiting."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            patience = self._idle_s()
            if patience == 0:
                self._idle()
                continue
            try:
                entry = self._jobs.get(timeout=patience)
            except queue.Empty:
                self._idle()
                continue
            if entry is None:
                return
            future, job = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, not to this thread
                future.set_exception(error)
            del future, job, entry
