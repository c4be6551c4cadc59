"""What becomes of the programs of the emulator. A program's output ends when no process has it open any more."""

from __future__ import annotations

import select
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
(host.folder / "file").write_text("x")
print(host._guardian.pid, host.folder, flush=True)
host.run(["sh", "-c", "sleep 1000 & echo runs; wait"], env={}, cwd=host.folder)
print("guarded", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner():
    """Run a process that has a host, and return what it has: guardian, folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    guardian, folder = process.stdout.readline().split()
    assert {process.stdout.readline(), process.stdout.readline()} == {"runs\n", "guarded\n"}
    yield process, psutil.Process(int(guardian)), Path(folder)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def is_over(output):
    return select.select([output], [], [], 20)[0] and not output.read()


def end(process, how):
    if how == "exit":
        process.stdin.close()
    else:
        process.send_signal(how)
    process.wait(timeout=20)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, "exit"], ids=str)
def test_nothing_is_left_when_the_process_of_the_emulator_ends(owner, how):
    process, guardian, folder = owner
    assert (folder / "file").exists()
    end(process, how)
    guardian.wait(timeout=20)
    assert is_over(process.stdout)
    assert not folder.exists()


def test_programs_and_folder_end_with_the_host():
    host = Host()
    command = ["sh", "-c", "sleep 1000 & echo $A; wait"]
    process = host.run(command, env={"A": "1"}, cwd=host.new_folder(), stdout=subprocess.PIPE)
    folder = host.folder
    assert process.stdout.readline() == b"1\n"
    host.kill(process)
    assert is_over(process.stdout)
    process.stdout.close()
    host.close()
    assert not folder.exists()


def test_closed_host_begins_anew():
    host = Host()
    first = host.folder
    host.close()
    host.close()
    assert host.folder != first
    host.close()
