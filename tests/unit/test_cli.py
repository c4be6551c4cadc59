import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

import airflow_provider_kernel
from airflow_provider_kernel import cli
from airflow_provider_kernel.api.errors import KernelError
from airflow_provider_kernel.demo import watch
from airflow_provider_kernel.demo.expected import EXAMPLES, ExpectedTask
from airflow_provider_kernel.demo.kernels import Seen
from airflow_provider_kernel.demo.outcome import Outcome, TaskOutcome, as_text, differences
from airflow_provider_kernel.demo.terminal import Terminal
from airflow_provider_kernel.demo.watch import Watcher


class TestCommandLine:
    def test_version(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["--version"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out == f"airflow-provider-kernel {airflow_provider_kernel.__version__}\n"

    def test_defaults_of_demo(self):
        arguments = cli.build_parser().parse_args(["demo"])
        assert (str(arguments.home), arguments.dags, arguments.live) == (".airflow", [], False)

    def test_defaults_of_emulator_are_those_of_the_emulator(self):
        from airflow_provider_kernel.testing.emulator import DEFAULT_API_KEY

        arguments = cli.build_parser().parse_args(["emulator"])
        assert (arguments.port, arguments.api_key) == (8787, DEFAULT_API_KEY)

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            ([], "required: COMMAND"),
            (["demo", "nope"], "there is no example 'nope'; there are example_kernel_invoke, "),
            (["demo", "--yes"], "--yes is for --live only"),
            (["demo", "--app", "shop"], "--app is for --live only"),
            (["emulator", "--port", "http"], "invalid int value: 'http'"),
        ],
    )
    def test_mistakes(self, capsys, argv, message):
        with pytest.raises(SystemExit) as stopped:
            cli.main(argv)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["emulator", "--help"]])
    def test_help(self, capsys, argv):
        with pytest.raises(SystemExit) as stopped:
            cli.main(argv)
        assert stopped.value.code == 0
        assert capsys.readouterr().out.startswith("usage: airflow-kernel")

    def test_demo_passes_on_what_was_asked_for(self, monkeypatch, tmp_path):
        from airflow_provider_kernel.demo import command

        asked = []
        monkeypatch.setattr(command, "run_demo", lambda options: asked.append(options) or 1)
        twice = ["example_kernel_kill", "example_kernel_kill"]
        argv = ["demo", "--home", str(tmp_path), "--live", "--yes", "--app", "shop", "--verbose", *twice]
        assert cli.main(argv) == 1
        assert asked == [
            command.DemoOptions(tmp_path, ("example_kernel_kill",), True, "shop", confirmed=True, verbose=True)
        ]
        assert asked[0].log_file is None
        assert replace(asked[0], verbose=False).log_file == tmp_path / "demo.log"

    def test_live_without_a_key_runs_nothing(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("KERNEL_API_KEY", "")
        home = tmp_path / "home"
        assert cli.main(["demo", "--live", "--yes", "--home", str(home)]) == 2
        assert "--live needs your API key of Kernel in KERNEL_API_KEY" in capsys.readouterr().err
        assert not home.exists()

    def test_a_port_that_is_taken(self, capsys):
        from airflow_provider_kernel.testing import KernelEmulator

        with KernelEmulator() as emulator:
            assert cli.main(["emulator", "--port", str(emulator.port)]) == 1
        assert f"cannot listen on 127.0.0.1:{emulator.port}" in capsys.readouterr().err

    def test_emulator_passes_on_what_was_asked_for(self, capsys, monkeypatch):
        import airflow_provider_kernel.testing as testing

        served = []
        monkeypatch.setattr(testing, "run_emulator", lambda *arguments: served.append(arguments))
        assert cli.main(["emulator", "--port", "0", "--api-key", "k"]) == 0
        assert served == [(0, "k")]

    def test_importing_it_loads_nothing_heavy(self):
        code = "import json, sys, airflow_provider_kernel.cli; print(json.dumps(sorted(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
        assert "airflow_provider_kernel" in loaded
        assert not loaded & {"airflow", "starlette", "uvicorn", "httpx", "pydantic", "rich"}


class TestEnvironment:
    def test_it_shares_nothing_with_another_airflow(self, tmp_path):
        code = (
            "import json, os, sys; from pathlib import Path\n"
            "from airflow_provider_kernel.demo.environment import give_airflow_a_home\n"
            "give_airflow_a_home(Path(sys.argv[1]), 'shop')\n"
            "print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('AIRFLOW', 'KERNEL_EX'))}))"
        )
        theirs = {
            "AIRFLOW_HOME": "/theirs",
            "AIRFLOW_CONFIG": "/theirs/airflow.cfg",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://theirs",
            "AIRFLOW__SECRETS__BACKEND": "theirs",
            "AIRFLOW_CONN_KERNEL_DEFAULT": "kernel://theirs",
        }
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "home")],
            env={**os.environ, **theirs},
            capture_output=True,
            text=True,
            check=True,
        )
        environment = json.loads(done.stdout)
        assert "theirs" not in done.stdout
        assert environment["AIRFLOW_HOME"] == str(tmp_path / "home")
        assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/home/demo.db"
        assert environment["KERNEL_EXAMPLE_APP"] == "shop"

    def test_it_refuses_to_come_too_late(self, monkeypatch, tmp_path):
        from airflow_provider_kernel.demo.environment import give_airflow_a_home

        monkeypatch.setitem(sys.modules, "airflow", cli)
        with pytest.raises(RuntimeError, match="imported already"):
            give_airflow_a_home(tmp_path, "demo")


class TestConfirmation:
    @pytest.mark.parametrize(
        ("typed", "confirmed"), [("yes\n", True), ("Y\n", True), ("no\n", False), ("\n", False), ("", False)]
    )
    def test_only_a_yes_is_one(self, monkeypatch, typed, confirmed):
        from airflow_provider_kernel.demo import command

        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        assert command._confirmed(Terminal(io.StringIO())) is confirmed


class FakeKernel:
    """One invocation, which a demo that looks at it may cancel."""

    interval = 0.001

    def __init__(self, *, browsers: int = 1, awaited: bool = True, error: KernelError | None = None) -> None:
        self.seen = Seen("i1", "browsers", ("queued", "running"), None, awaited=awaited)
        self.open_browsers = browsers
        self.error = error
        self.invoked = False
        self.looks = 0
        self.looked_often = threading.Event()
        self.cancelled = threading.Event()

    def look(self) -> list[Seen]:
        self.looks += 1
        if self.looks > 10 and (self.invoked or self.error):
            self.looked_often.set()
        if self.error:
            raise self.error
        return [self.seen] if self.invoked else []

    def browsers(self, invocation_id: str) -> int:
        return self.open_browsers

    def cancel(self, invocation_id: str) -> None:
        self.seen = replace(self.seen, statuses=("queued", "running", "failed"))
        self.cancelled.set()


class TestWatcher:
    @pytest.fixture
    def signals(self):
        """Receive the SIGTERMs that would kill this process."""
        received: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
        yield received
        signal.signal(signal.SIGTERM, before)

    def watch(self, kernel: FakeKernel, until: threading.Event, *, kill: bool) -> str:
        out = io.StringIO()
        with Watcher(kernel, Terminal(out)) as watcher:
            watcher.begin(kill=kill)
            kernel.invoked, kernel.looks = True, 0
            assert until.wait(10)
            watcher.end()
        return re.sub(r"^ *[\d.]+ s  ", "", out.getvalue(), flags=re.MULTILINE)

    def test_it_kills_once(self, signals):
        kernel = FakeKernel()
        told = self.watch(kernel, kernel.looked_often, kill=True)
        assert signals == [signal.SIGTERM]
        assert told == (
            "  invocation i1 (browsers): queued, running\n"
            "  the task is sent a SIGTERM, as when it is marked as failed\n"
        )

    def test_it_spares_what_no_task_waits_for(self, signals):
        kernel = FakeKernel()
        with Watcher(kernel, Terminal(io.StringIO())) as watcher:
            watcher.begin(kill=True)
            watcher.spare()
            kernel.invoked = True
            assert kernel.looked_often.wait(10)
        assert signals == []

    @pytest.mark.parametrize(
        ("kernel", "kill"),
        [
            (FakeKernel(), False),
            (FakeKernel(browsers=0), True),
            (FakeKernel(awaited=False), True),
            (FakeKernel(error=KernelError("no")), True),
        ],
        ids=["not to be killed", "no browser yet", "not awaited yet", "cannot be seen"],
    )
    def test_it_does_not_kill(self, signals, kernel, kill):
        watcher_ends = pytest.raises(KernelError) if kernel.error else contextlib.nullcontext()
        with watcher_ends:
            self.watch(kernel, kernel.looked_often, kill=kill)
        assert signals == []

    def test_it_does_not_wait_for_a_browser_for_ever(self, signals, monkeypatch):
        monkeypatch.setattr(watch, "BROWSER_SECONDS", -1)
        kernel = FakeKernel(browsers=0)
        self.watch(kernel, kernel.looked_often, kill=True)
        assert signals == [signal.SIGTERM]

    def test_it_ends_what_survives_the_kill(self, signals, monkeypatch):
        monkeypatch.setattr(watch, "GRACE_SECONDS", 0)
        kernel = FakeKernel()
        told = self.watch(kernel, kernel.cancelled, kill=True)
        assert told.endswith(
            "  invocation i1 goes on all the same; the demo ends it\n  invocation i1 (browsers): failed\n"
        )

    def test_it_says_once_that_kernel_cannot_be_asked(self):
        out = io.StringIO()
        kernel = FakeKernel(error=KernelError("no route"))
        with Watcher(kernel, Terminal(out)):
            assert kernel.looked_often.wait(10)
        assert out.getvalue().count("Kernel could not be asked: no route") == 1


class TestDifferences:
    EXAMPLE = EXAMPLES["example_kernel_invoke"]

    def outcome(self, **changes):
        seen = Seen("i1", "echo", ("queued", "running", "succeeded"), self.EXAMPLE.tasks[0].output, awaited=True)
        tasks = (
            TaskOutcome("search", "success", seen, seen.output),
            TaskOutcome("summarize", "success", None, "2 nights in Lisbon"),
        )
        return replace(Outcome(tasks=tasks, invocations=(seen,)), **changes)

    def test_none(self):
        assert differences(self.EXAMPLE, self.outcome()) == []

    def test_in_a_task(self):
        search, summarize = self.outcome().tasks
        failed = replace(search, state="failed", invocation=None, output=None)
        assert differences(self.EXAMPLE, self.outcome(tasks=(failed, summarize))) == [
            "task search: state is 'failed', expected 'success'",
            "task search: invocation is None, expected 'succeeded'",
            "task search: output is None, expected {'city': 'Lisbon', 'nights': 2}",
        ]

    def test_in_which_tasks_there_are(self):
        search, summarize = self.outcome().tasks
        other = replace(summarize, name="other")
        assert differences(self.EXAMPLE, self.outcome(tasks=(search, other))) == [
            "task summarize: there is none",
            "task other: not expected at all",
        ]

    def test_in_how_many_invocations_were_started(self):
        (seen,) = self.outcome().invocations
        assert differences(self.EXAMPLE, self.outcome(invocations=(seen, replace(seen, id="i2")))) == [
            "invocations: started 2 x echo, expected echo"
        ]
        assert differences(self.EXAMPLE, self.outcome(invocations=())) == [
            "invocations: started none, expected echo"
        ]

    def test_in_what_was_left(self):
        (seen,) = self.outcome().invocations
        left = replace(seen, statuses=("queued", "running"))
        assert differences(self.EXAMPLE, self.outcome(invocations=(left,), browsers=2)) == [
            "invocation i1: left running",
            "browsers: 2 left open",
        ]

    def test_in_whether_it_ran(self):
        found = differences(self.EXAMPLE, Outcome(error="could not be loaded: SyntaxError"))
        assert found[0] == "could not be loaded: SyntaxError"
        assert len(found) == 4

    @pytest.mark.parametrize(
        ("output", "text"), [(None, ""), ("failed", "failed"), ({"é": [1]}, '{"é": [1]}'), (0, "0")]
    )
    def test_outputs_as_text(self, output, text):
        assert as_text(output) == text

    def test_every_example_expects_as_many_invocations_as_it_starts(self):
        for example in EXAMPLES.values():
            about = {
                (task.invocation, str(task.output)) for task in example.tasks if isinstance(task, ExpectedTask)
            }
            assert len({pair for pair in about if pair[0]}) == len(example.actions)
