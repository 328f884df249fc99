"""Worker programs in processes of their own: started, fed, timed out, capped and recycled here and only here.

A worker reads one JSON request a line on stdin and answers with JSON lines on stdout; the last one of an
answer has ``"event": "done"`` or ``"event": "error"``. Large arrays travel as files. What a worker prints
besides goes to stderr and is quoted when it dies. A worker ends when its stdin closes, so none outlives the
process that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from catalogs.errors import WorkerCrashed, WorkerTimeout

_GRACE_S = 5.0


class WorkerProcess:
    """One worker, started when first called and again after it died.

    Args:
        command: The program and its arguments.
        timeout: Seconds that may pass between two answers.
        memory: Cap on its address space in bytes; None for no cap.
        recycle: Restart after so many calls, so that what a library leaks does not add up.
        environment: Variables to set besides this process's own.
        name: What messages call it; the last of its arguments by default.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout: float = 300,
        memory: int | None = None,
        recycle: int = 500,
        environment: Mapping[str, str] | None = None,
        name: str = "",
    ) -> None:
        self.command, self.timeout, self.memory, self.recycle = list(command), timeout, memory, recycle
        self.environment = {**os.environ, **(environment or {})}
        self.name = name or self.command[-1]
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._stderr: IO[bytes] | None = None
        self._calls = 0

    def call(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a request and yield its answers as they come, the closing one included.

        A caller that stops listening before the closing answer loses the worker: what it still has to say
            must not be taken for the next request's answer.

        Raises:
            WorkerCrashed: It died, or said what is no answer; the message has its exit status and the end of
                its stderr.
            WorkerTimeout: No answer within ``timeout``; it was killed.
        """
        if self._calls >= self.recycle:
            self.close()
        process = self._process or self._start()
        self._calls += 1
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._crashed() from None
        closed = False
        try:
            while not closed:
                answer = self._answer()
                closed = answer["event"] in ("done", "error")
                yield answer
        finally:
            if not closed:
                self._kill()

    def close(self) -> None:
        """Let the worker end by itself; kill it if it does not."""
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_GRACE_S)
            self._kill()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._kill()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self.timeout)
        except queue.Empty:
            raise WorkerTimeout(f"no answer from {self.name} within {self.timeout:g} s; killed") from None
        if line is None:
            raise self._crashed()
        with contextlib.suppress(ValueError):
            answer = json.loads(line)
            if isinstance(answer, dict) and "event" in answer:
                return answer
        raise WorkerCrashed(f"{self.name} said {line.strip()[:80]!r}, which is no answer; killed")

    def _start(self) -> subprocess.Popen[str]:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        self._answers, self._calls = queue.Queue(), 0
        try:
            process = subprocess.Popen(
                self.command,
                env=self.environment,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
            )
        except OSError as error:
            raise WorkerCrashed(f"{self.command[0]} cannot be started: {error.strerror}") from None
        if self.memory is not None and hasattr(resource, "prlimit"):  # macOS cannot cap another process
            with contextlib.suppress(ProcessLookupError):  # it died at once; the first read says so
                resource.prlimit(process.pid, resource.RLIMIT_AS, (self.memory, self.memory))
        threading.Thread(target=_pump, args=(process.stdout, self._answers), daemon=True).start()
        self._process = process
        return process

    def _crashed(self) -> WorkerCrashed:
        assert self._process is not None and self._stderr is not None
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may have closed its pipes and live on
            self._process.wait(timeout=_GRACE_S)
        self._process.kill()
        status = self._process.wait()
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2000))
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        self._process = None
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return WorkerCrashed(f"{self.name} died ({how})" + (f": {said[-1]}" if said else ""))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def python_path() -> str:
    """PYTHONPATH for processes of ours: they find the packages also when run from outside their checkout."""
    return os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


def memory_folder(size: int) -> str | None:
    """A folder in memory for files of ``size`` bytes in all; None, where tempfile's own will do, if it has no room."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 * size else None


def _pump(stream: IO[str] | None, answers: queue.Queue[str | None]) -> None:
    assert stream is not None
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            answers.put(line)
    answers.put(None)
