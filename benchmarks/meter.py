"""CPU seconds, wall seconds and memory of a command and of all it starts, daemons included.

Processes are recognised by a variable in their environment, so that Ray's own (GCS, raylet, idle workers) count even
though they leave the process tree. /proc is read five times a second; what a process used after its last reading is
missed.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Usage:
    """What a command used.

    Attributes:
        wall, cpu: Seconds.
        by_kind: CPU seconds by program.
        memory: (seconds since start, bytes resident) of each watched process, by process ID.
    """

    wall: float = 0.0
    cpu: float = 0.0
    by_kind: dict[str, float] = field(default_factory=dict)
    memory: dict[int, list[tuple[float, int]]] = field(default_factory=dict)


def measure(command: Sequence[str], watch: str = "") -> Usage:
    """Run a command to its end; ``watch`` names the processes whose memory is recorded."""
    mark = f"BENCH_MARK={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    started, usage = time.monotonic(), Usage()
    process = subprocess.Popen(command, env={**os.environ, name: value}, stdout=subprocess.DEVNULL)
    seen: dict[int, tuple[str, float]] = {}
    ours: dict[int, bool] = {}
    while process.poll() is None:
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                if pid not in ours:
                    ours[pid] = mark.encode() in Path(entry.path, "environ").read_bytes()
                if not ours[pid]:
                    continue
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                line = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            line = line or seen.get(pid, ("", 0.0))[0]  # a zombie has no command line
            seen[pid] = (line, (int(fields[11]) + int(fields[12])) / _TICK)
            if watch and watch in line:
                usage.memory.setdefault(pid, []).append((time.monotonic() - started, int(fields[21]) * _PAGE))
        time.sleep(0.2)
    usage.wall = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    usage.cpu = sum(cpu for _, cpu in seen.values())
    for line, cpu in seen.values():
        kind = _kind(line)
        usage.by_kind[kind] = usage.by_kind.get(kind, 0.0) + cpu
    return usage


def _kind(line: str) -> str:
    for word in (
        "pipelines.worker",
        "gcs_server",
        "raylet",
        "ray::",
        "dashboard",
        "runtime_env_agent",
        "bare_canny",
    ):
        if word in line:
            return word
    return "driver and others"
