"""Who on this machine took how much processor time, and how much memory."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from airflow_stack.stack import AirflowStack

#: The LocalExecutor's workers are the scheduler's children, and each task is a child of one.
WORKERS = "workers and tasks"
EMULATOR = "the emulator"


def processor_seconds(stack: AirflowStack, emulator_pid: int) -> dict[str, float]:
    """
    Tell how much processor time each part of the stack has taken since its start.

    :param stack: the stack, with the LocalExecutor.
    :param emulator_pid: the emulator's process.
    """
    scheduler = psutil.Process(stack.programs["scheduler"].pid)
    workers = [child for child in scheduler.children() if _is_worker(child)]
    roots = {name: [psutil.Process(program.pid)] for name, program in stack.programs.items()}
    roots |= {"Postgres": [psutil.Process(stack.database.pid)], EMULATOR: [psutil.Process(emulator_pid)]}
    taken = {name: sum(map(_of_tree, processes)) for name, processes in roots.items()}
    taken[WORKERS] = sum(map(_of_tree, workers))
    taken["scheduler"] -= taken[WORKERS]
    return taken


def machine_seconds() -> float:
    """Tell how much processor time the whole machine has been busy for, with whatever."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "irq", 0) + getattr(times, "softirq", 0))


def megabytes(pid: int) -> float:
    """
    Tell how much memory a process and its children take, what they share counted once for each.

    :param pid: the process.
    """
    return sum(_resident(process) for process in _tree(psutil.Process(pid))) / 1e6


def _tree(root: psutil.Process) -> Iterable[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _of_tree(root: psutil.Process) -> float:
    return sum(map(_own_and_ended, _tree(root)))


def _own_and_ended(process: psutil.Process) -> float:
    """Tell the time of a process and its ended children; those that live are counted by themselves."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it has ended just now, so that its parent's count has it
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "LocalExecutor" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
