from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from airflow_provider_kernel.testing.resources.browsers.host import Host

#: Starts two programs, of which one has ended, and says what it has.
OWNER = """
import os, sys
from pathlib import Path
from airflow_provider_kernel.testing.resources.browsers.host import Host

host = Host()
ended = host.run(["sleep", "1000"], env={}, cwd=host.folder)
host.kill(ended)
running = host.run(["sh", "-c", "sleep 1000 & wait"], env={}, cwd=host.folder)
(host.folder / "file").write_text("x")
print(running.pid, host._guardian.pid, host.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner():
    """Run a process that has a host, and return what it has: process group, guardian, folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    group, guardian, folder = process.stdout.readline().split()
    yield process, int(group), psutil.Process(int(guardian)), Path(folder)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def members(group):
    return [
        process
        for process in psutil.process_iter()
        if process.status() != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group
    ]


def end(process, how):
    if how == "exit":
        process.stdin.close()
    else:
        process.send_signal(how)
    process.wait(timeout=20)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, "exit"], ids=str)
def test_nothing_is_left_when_the_process_of_the_emulator_ends(owner, how):
    process, group, guardian, folder = owner
    assert len(members(group)) == 2
    assert (folder / "file").exists()
    end(process, how)
    guardian.wait(timeout=20)
    assert members(group) == []
    assert not folder.exists()


def test_programs_and_folder_end_with_the_host():
    host = Host()
    process = host.run(["sh", "-c", "sleep 1000 & wait"], env={"A": "1"}, cwd=host.new_folder())
    folder = host.folder
    host.kill(process)
    assert members(process.pid) == []
    host.close()
    assert not folder.exists()


def test_closed_host_begins_anew():
    host = Host()
    first = host.folder
    host.close()
    host.close()
    assert host.folder != first
    host.close()
