from __future__ import annotations

import base64
import threading

import pytest

from airflow_provider_kernel.testing.resources.browsers import Browsers


@pytest.fixture
def run(kernel, machine):
    """Register a function as a command, and run it."""

    def run(function, *args, **rest):
        kernel.room(Browsers).register_command("work", function)
        return machine("POST", "process/exec", json={"command": "work", "args": list(args), **rest})

    return run


def output(answer, name="stdout"):
    return base64.b64decode(answer.json()[f"{name}_b64"])


def test_command_is_a_function(run):
    answer = run(lambda args: " ".join(args), "a", "b")
    assert (answer.status_code, answer.json()["exit_code"], output(answer)) == (200, 0, b"a b")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (None, (0, b"", b"")),
        (3, (3, b"", b"")),
        (b"\xff", (0, b"\xff", b"")),
        ((2, "out", b"err"), (2, b"out", b"err")),
    ],
    ids=str,
)
def test_command_returns_code_or_output(run, outcome, expected):
    answer = run(lambda args: outcome)
    assert (answer.json()["exit_code"], output(answer), output(answer, "stderr")) == expected


def test_command_that_raises_has_failed(run):
    answer = run(lambda args: 1 // 0)
    assert (answer.status_code, answer.json()["exit_code"]) == (200, 1)
    assert output(answer, "stderr") == b"ZeroDivisionError: integer division or modulo by zero"


def test_command_uses_the_machine(run, machine):
    def work(args, context):
        context.place(context.cwd).mkdir()
        context.place(f"{context.cwd}/made").write_text(context.env["WHAT"])

    assert run(work, cwd="/data", env={"WHAT": "text"}).json()["exit_code"] == 0
    assert machine("GET", "fs/read_file", params={"path": "/data/made"}).text == "text"


def test_command_of_the_host_cannot_be_started(machine):
    answer = machine("POST", "process/exec", json={"command": "/bin/true"})
    assert answer.status_code == 500
    assert "cannot be started; the registered commands are: none" in answer.json()["message"]


def test_command_over_its_time_is_a_500(run):
    release = threading.Event()
    answer = run(lambda args: release.wait(30), timeout_sec=1)
    release.set()
    assert (answer.status_code, answer.json()["message"]) == (500, "process timed out")


def test_command_keeps_the_browser_awake(kernel, run):
    begun, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=run, args=(lambda args: begun.set() or release.wait(30),))
    thread.start()
    assert begun.wait(10)
    kernel.time_scale = 1e9
    assert (kernel.browsers[0].clients, kernel.browsers[0].is_active) == (1, True)
    release.set()
    thread.join()
    kernel.wait_until(lambda: not kernel.browsers[0].is_active)


@pytest.mark.parametrize(
    "body", [{}, {"command": 1}, {"command": "a", "args": "b"}, {"command": "a", "as_root": True, "as_user": "b"}]
)
def test_invalid_command_is_a_400(machine, body):
    assert machine("POST", "process/exec", json=body).status_code == 400
