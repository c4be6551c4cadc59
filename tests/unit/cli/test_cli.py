import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import airflow_provider_kernel
from airflow_provider_kernel import cli
from airflow_provider_kernel.demo import watch
from airflow_provider_kernel.demo.expected import EXAMPLES, ExpectedTask
from airflow_provider_kernel.demo.kernel import ObservedInvocation
from airflow_provider_kernel.demo.outcome import Outcome, TaskOutcome, as_text, differences
from airflow_provider_kernel.demo.terminal import Terminal
from airflow_provider_kernel.demo.watch import Watcher


class TestCommandLine:
    def test_cli_prints_its_version(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["--version"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out == f"airflow-provider-kernel {airflow_provider_kernel.__version__}\n"

    def test_cli_demo_has_defaults(self):
        arguments = cli.build_parser().parse_args(["demo"])
        assert (arguments.home, arguments.dags, arguments.verbose) == (Path(".airflow"), [], False)

    def test_cli_emulator_has_the_defaults_of_the_emulator(self):
        from airflow_provider_kernel.testing.emulator import DEFAULT_API_KEY

        arguments = cli.build_parser().parse_args(["emulator"])
        assert (arguments.port, arguments.api_key) == (8787, DEFAULT_API_KEY)

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            ([], "required: COMMAND"),
            (["demo", "nope"], "there is no example 'nope'; choose from example_kernel_invoke, "),
            (["demo", "--live"], "unrecognized arguments: --live"),
            (["emulator", "--port", "http"], "invalid int value: 'http'"),
        ],
    )
    def test_cli_refuses_wrong_arguments(self, capsys, argv, message):
        with pytest.raises(SystemExit) as stopped:
            cli.main(argv)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["emulator", "--help"]])
    def test_cli_prints_help(self, capsys, argv):
        with pytest.raises(SystemExit) as stopped:
            cli.main(argv)
        assert stopped.value.code == 0
        assert capsys.readouterr().out.startswith("usage: airflow-kernel")

    def test_cli_demo_passes_its_arguments_on(self, monkeypatch, tmp_path):
        from airflow_provider_kernel.demo import command

        runs = []
        monkeypatch.setattr(command, "run_demo", lambda options: runs.append(options) or 1)
        twice = ["example_kernel_kill", "example_kernel_kill"]
        assert cli.main(["demo", "--home", str(tmp_path), "--verbose", *twice]) == 1
        assert runs == [command.DemoOptions(tmp_path, ("example_kernel_kill",), verbose=True)]
        assert runs[0].log_file is None
        assert replace(runs[0], verbose=False).log_file == tmp_path / "demo.log"

    def test_cli_emulator_reports_a_port_in_use(self, capsys):
        from airflow_provider_kernel.testing import KernelEmulator

        with KernelEmulator() as emulator:
            assert cli.main(["emulator", "--port", str(emulator.port)]) == 1
        assert f"cannot listen on 127.0.0.1:{emulator.port}" in capsys.readouterr().err

    def test_cli_emulator_passes_its_arguments_on(self, capsys, monkeypatch):
        import airflow_provider_kernel.testing as testing

        served = []
        monkeypatch.setattr(testing, "run_emulator", lambda *arguments, setup: served.append(arguments))
        assert cli.main(["emulator", "--port", "0", "--api-key", "k"]) == 0
        assert served == [(0, "k")]

    @pytest.mark.parametrize("command", ["demo", "emulator"])
    def test_cli_without_the_extra_says_how_to_install_it(self, capsys, monkeypatch, command):
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        assert cli.main([command]) == 2
        assert capsys.readouterr().err == (
            f"airflow-kernel {command}: the emulator and the demo need uvicorn; install the extra: "
            'pip install "airflow-provider-kernel[emulator]"\n'
        )

    def test_importing_testing_without_the_extra_says_how_to_install_it(self):
        code = "import sys; sys.modules['starlette'] = None; import airflow_provider_kernel.testing.fixtures"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "ImportError: the emulator and the demo need starlette; install the extra: "
            'pip install "airflow-provider-kernel[emulator]"'
        )

    def test_importing_the_cli_loads_nothing_heavy(self):
        code = "import json, sys, airflow_provider_kernel.cli; print(json.dumps(sorted(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
        assert "airflow_provider_kernel" in loaded
        assert not loaded & {"airflow", "starlette", "uvicorn", "httpx", "pydantic", "rich"}


class TestEnvironment:
    def test_demo_shares_nothing_with_another_airflow(self, tmp_path):
        code = (
            "import json, os, sys; from pathlib import Path\n"
            "from airflow_provider_kernel.demo.environment import give_airflow_a_home\n"
            "give_airflow_a_home(Path(sys.argv[1]))\n"
            "print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('AIRFLOW', 'KERNEL_EX'))}))"
        )
        foreign = {
            "AIRFLOW_HOME": "/foreign",
            "AIRFLOW_CONFIG": "/foreign/airflow.cfg",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://foreign",
            "AIRFLOW__SECRETS__BACKEND": "foreign",
            "AIRFLOW_CONN_KERNEL_DEFAULT": "kernel://foreign",
            "KERNEL_EXAMPLE_APP": "foreign",
        }
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "home")],
            env={**os.environ, **foreign},
            capture_output=True,
            text=True,
            check=True,
        )
        environment = json.loads(done.stdout)
        assert "foreign" not in done.stdout
        assert environment["AIRFLOW_HOME"] == str(tmp_path / "home")
        assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/home/demo.db"
        assert environment["KERNEL_EXAMPLE_APP"] == "demo"

    def test_demo_refuses_a_process_that_has_imported_airflow(self, monkeypatch, tmp_path):
        from airflow_provider_kernel.demo.environment import give_airflow_a_home

        monkeypatch.setitem(sys.modules, "airflow", cli)
        with pytest.raises(RuntimeError, match="imported already"):
            give_airflow_a_home(tmp_path)


class FakeKernel:
    """One invocation, which the watcher may cancel."""

    def __init__(self, *, browsers: int = 1, awaited: bool = True) -> None:
        self.invocation = ObservedInvocation("i1", "browsers", ("queued", "running"), None, awaited=awaited)
        self.open_browsers = browsers
        self.invoked = False
        self.polls = 0
        self.polled_often = threading.Event()
        self.cancelled = threading.Event()

    def poll(self) -> list[ObservedInvocation]:
        self.polls += 1
        if self.polls > 10 and self.invoked:
            self.polled_often.set()
        return [self.invocation] if self.invoked else []

    def browsers(self) -> tuple[()]:
        return ()

    def count_browsers(self, invocation_id: str) -> int:
        return self.open_browsers

    def cancel(self, invocation_id: str) -> None:
        self.invocation = replace(self.invocation, statuses=("queued", "running", "failed"))
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
        with Watcher(kernel, Terminal(out), interval=0.001) as watcher:
            watcher.begin(kill=kill)
            kernel.invoked, kernel.polls = True, 0
            assert until.wait(10)
            watcher.end()
        return re.sub(r"^ *[\d.]+ s  ", "", out.getvalue(), flags=re.MULTILINE)

    def test_watcher_kills_once(self, signals):
        kernel = FakeKernel()
        printed = self.watch(kernel, kernel.polled_often, kill=True)
        assert signals == [signal.SIGTERM]
        assert printed == (
            "  invocation i1 (browsers): queued, running\n"
            "  the task is sent a SIGTERM, as when it is marked as failed\n"
        )

    def test_watcher_sends_no_signal_once_disarmed(self, signals):
        kernel = FakeKernel()
        with Watcher(kernel, Terminal(io.StringIO()), interval=0.001) as watcher:
            watcher.begin(kill=True)
            watcher.disarm()
            kernel.invoked = True
            assert kernel.polled_often.wait(10)
        assert signals == []

    @pytest.mark.parametrize(
        ("kernel", "kill"),
        [(FakeKernel(), False), (FakeKernel(browsers=0), True), (FakeKernel(awaited=False), True)],
        ids=["no kill requested", "no browser yet", "not awaited yet"],
    )
    def test_watcher_does_not_kill(self, signals, kernel, kill):
        self.watch(kernel, kernel.polled_often, kill=kill)
        assert signals == []

    def test_watcher_does_not_wait_forever_for_a_browser(self, signals, monkeypatch):
        monkeypatch.setattr(watch, "BROWSER_SECONDS", -1)
        kernel = FakeKernel(browsers=0)
        self.watch(kernel, kernel.polled_often, kill=True)
        assert signals == [signal.SIGTERM]

    def test_watcher_ends_an_invocation_that_survives_the_kill(self, signals, monkeypatch):
        monkeypatch.setattr(watch, "GRACE_SECONDS", 0)
        kernel = FakeKernel()
        printed = self.watch(kernel, kernel.cancelled, kill=True)
        assert printed.endswith(
            "  invocation i1 survived the kill; the demo ends it\n  invocation i1 (browsers): failed\n"
        )


class TestDifferences:
    EXAMPLE = EXAMPLES["example_kernel_invoke"]

    def outcome(self, **changes):
        output = self.EXAMPLE.tasks[0].output
        invocation = ObservedInvocation("i1", "echo", ("queued", "running", "succeeded"), output, awaited=True)
        tasks = (
            TaskOutcome("search", "success", invocation, output),
            TaskOutcome("summarize", "success", None, "2 nights in Lisbon"),
        )
        return replace(Outcome(tasks=tasks, invocations=(invocation,)), **changes)

    def test_no_differences(self):
        assert differences(self.EXAMPLE, self.outcome()) == []

    def test_differences_in_a_task(self):
        search, summarize = self.outcome().tasks
        failed = replace(search, state="failed", invocation=None, output=None)
        assert differences(self.EXAMPLE, self.outcome(tasks=(failed, summarize))) == [
            "task search: state is 'failed', expected 'success'",
            "task search: invocation is None, expected 'succeeded'",
            "task search: output is None, expected {'city': 'Lisbon', 'nights': 2}",
        ]

    def test_differences_in_the_set_of_tasks(self):
        search, summarize = self.outcome().tasks
        other = replace(summarize, name="other")
        assert differences(self.EXAMPLE, self.outcome(tasks=(search, other))) == [
            "task summarize: missing",
            "task other: unexpected",
        ]

    def test_differences_in_the_number_of_invocations(self):
        (invocation,) = self.outcome().invocations
        twice = (invocation, replace(invocation, id="i2"))
        assert differences(self.EXAMPLE, self.outcome(invocations=twice)) == [
            "invocations: started 2 x echo, expected echo"
        ]
        assert differences(self.EXAMPLE, self.outcome(invocations=())) == [
            "invocations: started none, expected echo"
        ]

    def test_differences_in_leftovers(self):
        (invocation,) = self.outcome().invocations
        left = replace(invocation, statuses=("queued", "running"))
        assert differences(self.EXAMPLE, self.outcome(invocations=(left,), browsers=2)) == [
            "invocation i1: left running",
            "browsers: 2 left open",
        ]

    def test_differences_of_an_example_that_did_not_run(self):
        found = differences(self.EXAMPLE, Outcome(error="could not be loaded: SyntaxError"))
        assert found[0] == "could not be loaded: SyntaxError"
        assert len(found) == 4

    @pytest.mark.parametrize(
        ("output", "text"), [(None, ""), ("failed", "failed"), ({"é": [1]}, '{"é": [1]}'), (0, "0")]
    )
    def test_demo_prints_outputs_as_text(self, output, text):
        assert as_text(output) == text

    def test_every_example_expects_as_many_invocations_as_it_starts(self):
        for example in EXAMPLES.values():
            about = {
                (task.invocation, str(task.output)) for task in example.tasks if isinstance(task, ExpectedTask)
            }
            assert len({pair for pair in about if pair[0]}) == len(example.actions)
