"""Worker processes against small real programs that answer, crash, hang and eat memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalogs.errors import WorkerCrashed, WorkerTimeout
from pipelines.process import WorkerProcess

PROGRAM = """
    import json, os, signal, sys, time

    def say(**answer):
        print(json.dumps(answer), flush=True)

    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "count":
                for n in range(request["to"]):
                    say(event="number", n=n, pid=os.getpid())
                say(event="done")
            case "fail":
                say(event="error", message=request["message"])
            case "abort":
                print("first words", file=sys.stderr)
                print("last words", file=sys.stderr, flush=True)
                os.abort()
            case "exit":
                say(event="number", n=0)
                print("giving up", file=sys.stderr, flush=True)
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                say(event="number", n=0, pid=os.getpid())
                time.sleep(60)
            case "deaf":  # closes its ends of the pipes, and lives on
                os.close(0), os.close(1)
                time.sleep(60)
            case "babble":
                print("progress: 10%", flush=True)
                time.sleep(60)
            case "allocate":
                try:
                    size = len(bytearray(request["megabytes"] << 20)) >> 20
                    say(event="done", size=size)
                except MemoryError:
                    say(event="error", message="MemoryError")
"""

Start = Callable[..., WorkerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    started: list[WorkerProcess] = []

    def make(**options: object) -> WorkerProcess:
        started.append(WorkerProcess([sys.executable, str(program)], **{"timeout": 20, **options}))
        return started[-1]

    yield make
    for worker in started:
        worker.close()


def _pid(worker: WorkerProcess) -> int:
    return int(next(iter(list(worker.call({"do": "count", "to": 1}))))["pid"])


def _gone(pid: int, within: float = 5.0) -> bool:
    """Whether the process has ended (it may still wait to be reaped by whoever adopted it)."""
    deadline = time.monotonic() + within
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def test_answers_come_in_order_and_one_by_one(start: Start) -> None:
    worker = start()
    assert [answer.get("n") for answer in worker.call({"do": "count", "to": 500})] == [*range(500), None]
    answers = worker.call({"do": "hang"})
    assert next(answers)["n"] == 0  # before the worker is through
    answers.close()


def test_an_error_is_an_answer_and_the_worker_lives_on(start: Start) -> None:
    worker = start()
    pid = _pid(worker)
    assert list(worker.call({"do": "fail", "message": "süß"})) == [{"event": "error", "message": "süß"}]
    assert _pid(worker) == pid


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("abort", r"program\.py died \(signal 6\): last words"),
        ("exit", r"program\.py died \(exit status 3\): giving up"),
        ("kill", r"program\.py died \(signal 9\)$"),
    ],
)
def test_a_crash_is_told_and_the_next_call_works(start: Start, how: str, says: str) -> None:
    worker = start()
    before = _pid(worker)
    with pytest.raises(WorkerCrashed, match=says) as caught:
        list(worker.call({"do": how}))
    assert "first words" not in str(caught.value)
    assert _pid(worker) != before and _gone(before)


def test_a_worker_that_dies_between_calls_is_told_too(start: Start) -> None:
    worker = start()
    os.kill(_pid(worker), signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="signal 9"):
        for _ in range(100):  # the pipe may take one more request before it breaks
            list(worker.call({"do": "count", "to": 1}))
    assert _pid(worker)


def test_a_hang_ends_in_time_and_leaves_no_process(start: Start) -> None:
    worker = start(timeout=0.5)
    answers = worker.call({"do": "hang"})
    pid = next(answers)["pid"]
    begin = time.monotonic()
    with pytest.raises(WorkerTimeout, match=r"within 0\.5 s"):
        next(answers)
    assert 0.4 < time.monotonic() - begin < 3
    assert _gone(pid, within=0)
    assert _pid(start()) != pid


def test_the_limit_is_between_answers_not_for_the_whole_call(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(
        "import sys, time\nfor line in sys.stdin:\n    for n in range(5):\n"
        '        time.sleep(0.3)\n        print(\'{"event": "n"}\', flush=True)\n'
        '    print(\'{"event": "done"}\', flush=True)\n'
    )
    worker = WorkerProcess([sys.executable, str(program)], timeout=1.0)
    assert len(list(worker.call({}))) == 6
    worker.close()


def test_one_that_closes_its_pipes_is_not_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.process._GRACE_S", 0.2)
    worker = start()
    pid = _pid(worker)
    with pytest.raises(WorkerCrashed, match="signal 9"):
        list(worker.call({"do": "deaf"}))
    assert _gone(pid, within=0)


def test_what_is_no_answer_is_a_crash(start: Start) -> None:
    worker = start()
    with pytest.raises(WorkerCrashed, match="progress: 10%"):
        list(worker.call({"do": "babble"}))
    assert _pid(worker)


def test_an_answer_left_half_read_is_not_the_next_one(start: Start) -> None:
    worker = start()
    next(worker.call({"do": "count", "to": 100}))
    assert list(worker.call({"do": "fail", "message": "mine"})) == [{"event": "error", "message": "mine"}]


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorkerCrashed, match="nothing cannot be started: No such file"):
        list(WorkerProcess([str(tmp_path / "nothing")]).call({}))


def test_the_memory_cap_holds(start: Start) -> None:
    worker = start(memory=512 << 20)
    assert list(worker.call({"do": "allocate", "megabytes": 200})) == [{"event": "done", "size": 200}]
    assert list(worker.call({"do": "allocate", "megabytes": 600})) == [
        {"event": "error", "message": "MemoryError"}
    ]
    assert list(start().call({"do": "allocate", "megabytes": 600})) == [{"event": "done", "size": 600}]


def test_recycling_starts_a_new_process(start: Start) -> None:
    worker = start(recycle=3)
    pids = [_pid(worker) for _ in range(7)]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]
    assert all(_gone(pid) for pid in (pids[0], pids[3])) and not _gone(pids[6], within=0.1)


def test_closing_lets_the_worker_end_by_itself(tmp_path: Path) -> None:
    program = tmp_path / "tidy.py"
    program.write_text(
        'import sys\nfor line in sys.stdin:\n    print(\'{"event": "done"}\', flush=True)\n'
        f"open({str(tmp_path / 'tidied')!r}, 'w').close()\n"
    )
    worker = WorkerProcess([sys.executable, str(program)])
    list(worker.call({}))
    worker.close()
    assert (tmp_path / "tidied").exists()
    assert list(worker.call({})) == [{"event": "done"}]  # and it starts again when asked
    worker.close()


def test_the_environment_is_added_to(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "env.py"
    program.write_text(
        "import json, os, sys\nfor line in sys.stdin:\n    print(json.dumps({'event': 'done', "
        "'x': os.environ['X_OF_TEST'], 'path': os.environ['PATH']}), flush=True)\n"
    )
    worker = WorkerProcess([sys.executable, str(program)], environment={"X_OF_TEST": "7"})
    assert list(worker.call({})) == [{"event": "done", "x": "7", "path": os.environ["PATH"]}]
    worker.close()


@pytest.mark.parametrize("program", ["program.py", "-m pipelines.worker"])
def test_no_worker_outlives_a_killed_parent(start: Start, tmp_path: Path, program: str) -> None:
    start()  # writes the program
    command = [str(tmp_path / program)] if program.endswith(".py") else program.split()
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(f"""
        import sys, time
        from pipelines.process import WorkerProcess
        workers = [WorkerProcess([sys.executable, *{command!r}]) for _ in range(2)]
        for worker in workers:  # the second must not hold the first one's pipe open
            print(worker._start().pid, flush=True)
        time.sleep(60)
    """)
    )
    home = Path(__file__).parents[2]
    running = subprocess.Popen(
        [sys.executable, str(parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(home)},
        cwd=home,
    )
    assert running.stdout is not None
    pids = [int(running.stdout.readline()) for _ in range(2)]
    assert not any(_gone(pid, within=0.2) for pid in pids)
    running.kill()
    running.wait()
    assert all(_gone(pid) for pid in pids)
