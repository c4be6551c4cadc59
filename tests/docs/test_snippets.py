"""Every piece of code that the documentation shows is run, against an emulated Kernel and with a real Airflow."""

import asyncio
import contextlib
import json
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import Connection

from airflow_provider_kernel.client.dashboard import dashboard_link
from airflow_provider_kernel.hooks.connection import config_from_connection, config_from_environment
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets"
DAG_IDS = sorted(path.stem for path in (SNIPPETS / "dags").glob("*.py"))
COMMANDS = {path.stem: path.read_text() for path in (SNIPPETS / "commands").glob("*.sh")}
OUTPUT = SNIPPETS / "output"
README = SNIPPETS.parents[1] / "README.md"
BUTTON = SNIPPETS.parent / "connection.md"


@pytest.fixture(scope="module")
def database(shell):
    first = COMMANDS["quickstart"].splitlines()[0]
    assert first == "airflow db migrate"
    done = shell.run(*shlex.split(first))
    assert done.returncode == 0, done
    return shell


@pytest.fixture(scope="module")
def both_ways(database, tmp_path_factory):
    """What became of the DAGs of the pages and of the README, each with a logical date and without."""
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(SNIPPETS / "dags", folder, dirs_exist_ok=True)
    (folder / "readme.py").write_text(readme_dag())
    command = [sys.executable, str(Path(__file__).parent / "run_dags.py"), str(folder)]
    done = database.run(*command, AIRFLOW__CORE__DAGS_FOLDER=str(folder))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


def readme_dag():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return code


@pytest.fixture(scope="module")
def runs(both_ways):
    """The runs with a logical date."""
    return {name: found if name == "errors" else found["with"] for name, found in both_ways.items()}


class TestDags:
    def test_snippet_dags_load(self, runs):
        assert runs["errors"] == {}
        assert sorted(set(runs) - {"errors"}) == sorted([*DAG_IDS, "buy_tickets"])

    @pytest.mark.parametrize("way", ["with", "without"])
    @pytest.mark.parametrize("dag_id", [*DAG_IDS, "buy_tickets"])
    def test_dag_of_a_page_runs_with_a_logical_date_and_without(self, both_ways, dag_id, way):
        tasks = {name: task for name, task in both_ways[dag_id][way].items() if name != "conf"}
        assert tasks
        assert {task["state"] for task in tasks.values()} == {"success"}

    def test_first_dag_of_the_readme_finds_the_cheapest_offer(self, runs):
        assert runs["buy_tickets"]["cheapest"]["returned"] == {"price": 15}

    def test_snippet_dags_do_what_their_pages_say(self, runs, kernel):
        assert runs["kernel_quickstart"]["summarize"]["returned"] == "2 nights in Lisbon"
        assert runs["kernel_fire_and_forget"]["wait"]["returned"] == {"slept": 2}
        assert runs["kernel_own_operator"]["search"]["returned"] == "Lisbon"
        assert runs["kernel_hello"]["hello"]["returned"] == {"greeting": "Hello, Ada"}
        assert runs["kernel_orphans"]["cancel_orphans"]["returned"] == []
        marks = {
            (run.payload_json["_airflow"]["task_id"], run.payload_json["_airflow"]["map_index"])
            for run in kernel.invocations
            if isinstance(run.payload_json, dict) and "question" in run.payload_json
        }
        assert marks == {("ask", 0), ("ask", 1), ("ask", 2)}

    def test_completed_invocation_has_the_output_of_the_snippet(self, runs, kernel):
        handed_off = kernel.invocation(runs["kernel_handoff"]["conf"]["invocation_id"])
        assert handed_off.status == "succeeded"
        assert handed_off.output_json == {"orders": 42}

    @pytest.mark.parametrize(
        ("dag_id", "output"),
        [
            ("kernel_answer", {"city": "Lisbon", "orders": 42}),
            ("kernel_callbacks", {"imported": True}),
            ("kernel_deadline", {"orders": 42}),
        ],
    )
    def test_waiting_invocation_gets_the_output_of_the_snippet(self, runs, kernel, dag_id, output):
        answered = kernel.invocation(runs[dag_id]["conf"]["kernel_invocation_id"])
        assert (answered.status, answered.output_json) == ("succeeded", output)

    @pytest.mark.parametrize(
        ("callback", "status", "output"),
        [
            ("on_success_callback", "succeeded", {"rooms": 3}),
            ("on_failure_callback", "failed", {"error": "The Airflow DAG run failed; failed: summarize"}),
        ],
    )
    def test_notifier_snippet_ends_the_invocation_as_the_run_ended(
        self, callback, status, output, kernel_emulator, kernel_connection, monkeypatch
    ):
        # dag.test() lets a callback read nothing of what the tasks have returned.
        xcom = "airflow.sdk.execution_time.xcom.XCom.get_all"
        states = "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states"
        monkeypatch.setattr(xcom, lambda **where: [{"rooms": 3}])
        monkeypatch.setattr(states, lambda **where: {"r": {"summarize": "failed"}})
        with KernelHook() as hook:
            waiting = hook.invoke("demo", "hang").id
        dag = runpy.run_path(str(SNIPPETS / "dags" / "kernel_notifier.py"))["dag"]
        run = SimpleNamespace(
            conf={"kernel_invocation_id": waiting},
            state=SimpleNamespace(value="success" if status == "succeeded" else "failed"),
            run_id="r",
        )
        getattr(dag, callback)({"dag": dag, "run_id": "r", "dag_run": run})
        ended = kernel_emulator.invocation(waiting)
        assert (ended.status, ended.output_json) == (status, output)

    def test_live_view_snippet_requests_the_browsers(self, runs, kernel):
        asked = kernel.requests("GET", "/invocations/*/browsers")
        assert asked


class TestCommands:
    def test_all_command_snippets_are_run_here(self):
        names = ["connection", "connection_extra", "emulator", "emulator_actions", "pool", "quickstart"]
        assert sorted(COMMANDS) == names

    def test_quick_start_commands_print_what_the_page_shows(self, database):
        done = database.run("bash", "-ec", COMMANDS["quickstart"])
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-5000:]
        # The page shows these lines; what comes before them on a line (time, logger) is Airflow's.
        for line in (OUTPUT / "quickstart.txt").read_text().splitlines():
            pattern = re.escape(line).replace("ow6xgk5wfe61ysrnphzvrdcm", "[a-z0-9]{24}")
            pattern = re.sub(r"0\\\.\d", r"\\d+\\.\\d", pattern)
            assert re.search(pattern, said), f"{line!r} is not in\n{said[-5000:]}"

    def test_command_for_a_pool_succeeds(self, database):
        done = database.run("bash", "-ec", COMMANDS["pool"])
        assert done.returncode == 0, done

    @pytest.mark.parametrize(
        ("name", "conn_id"), [("connection", "kernel_default"), ("connection_extra", "kernel_shop")]
    )
    def test_command_makes_a_connection_that_works(self, database, kernel, name, conn_id):
        command = f"{COMMANDS[name].strip()} --conn-host {kernel.base_url}\nairflow-kernel check {conn_id}"
        alone = "unset AIRFLOW_CONN_KERNEL_DEFAULT\n"  # it would hide what is in the database
        done = database.run("bash", "-ec", alone + command, KERNEL_API_KEY=kernel.api_key)
        assert done.returncode == 0, done
        assert f"{conn_id}: Connected to {kernel.base_url}" in done.stdout

    @pytest.mark.parametrize("name", ["airflow.env", "kernel.env", "connection.uri", "connection.json"])
    def test_environment_of_the_page_makes_a_connection_that_works(self, shell, kernel, name):
        text = (SNIPPETS / "connection" / name).read_text().replace("sk_your_key", kernel.api_key)
        if name.endswith(".env"):
            assignments = [line.partition("=") for line in shlex.split(text)]
            variables = {variable: value for variable, _, value in assignments}
        else:
            variables = {"AIRFLOW_CONN_KERNEL_DEFAULT": text}
        variables = {variable: self.at(value, kernel.base_url) for variable, value in variables.items()}
        arguments = ["--environment"] if name == "kernel.env" else []
        done = shell.run("airflow-kernel", "check", *arguments, **variables)
        assert done.returncode == 0, done

    def at(self, value, base_url):
        """Put the emulator in Kernel's place; its certificate is none."""
        if value.startswith("{"):
            fields = json.loads(value)
            fields["extra"].pop("verify_tls", None)
            return json.dumps({**fields, "host": base_url})
        host = base_url.partition("://")[2]
        if "://:" in value:
            return value.replace("@api.onkernel.com/", f"@{host}/http")  # Airflow's way to name a scheme
        return value.replace("https://api.onkernel.com", base_url)

    @pytest.fixture
    def port(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return listener.getsockname()[1]

    def test_emulator_command_prints_what_the_page_shows(self, shell, port):
        shown = (OUTPUT / "emulator.txt").read_text().replace("8787", str(port))
        with self.serving(shell, COMMANDS["emulator"].replace("8787", str(port))) as lines:
            assert "".join(next(lines) for _ in shown.splitlines()) == shown

    def test_emulator_command_serves_the_actions_of_the_page(self, shell, port):
        command = COMMANDS["emulator_actions"].replace("8788", str(port))
        with self.serving(shell, command, cwd=SNIPPETS / "actions") as lines:
            connection = next(line for line in lines if line.startswith("export "))
            (assignment,) = shlex.split(connection)[1:]
            done = shell.run(
                "airflow-kernel", "apps", "shop", "--json", AIRFLOW_CONN_KERNEL_DEFAULT=assignment.partition("=")[2]
            )
        assert done.returncode == 0, done
        (app,) = json.loads(done.stdout)  # whatever Airflow logs meanwhile
        assert [action["name"] for action in app["actions"]] == ["prices", "buy"]

    @contextlib.contextmanager
    def serving(self, shell, command, cwd=None):
        process = subprocess.Popen(
            shlex.split(command), env={**shell.environment}, stdout=subprocess.PIPE, text=True, cwd=cwd
        )
        try:
            yield process.stdout
        finally:
            process.terminate()
            process.communicate(timeout=60)


class TestConnections:
    def test_connection_snippet_in_json(self):
        connection = Connection.from_json((SNIPPETS / "connection" / "connection.json").read_text(), conn_id="c")
        # The bundle is checked when a client is made, where the file must be there.
        config = config_from_connection(connection)
        assert (config.api_key, config.project, config.read_timeout) == ("sk_your_key", "shop", 30)
        assert (config.verify_tls, config.retry.max_attempts) == ("/etc/ssl/certs/company-ca.pem", 3)

    def test_connection_snippet_as_uri(self):
        uri = (SNIPPETS / "connection" / "connection.uri").read_text().strip()
        config = config_from_connection(Connection.from_uri(uri, conn_id="c"))
        assert (config.api_key, config.project, config.read_timeout) == ("sk_your_key", "shop", 30)
        assert config.base_url == "https://api.onkernel.com"

    def test_connection_snippet_with_a_dashboard(self):
        connection = Connection.from_json((SNIPPETS / "connection" / "dashboard.json").read_text(), conn_id="c")
        template = config_from_connection(connection).dashboard_url
        link = dashboard_link(template, "abc", app_name="shop")
        assert link == "https://dashboard.example.com/shop/runs/abc"

    @pytest.mark.parametrize("name", ["kernel", "airflow"])
    def test_environment_snippet_makes_the_connection(self, name, monkeypatch):
        for line in (SNIPPETS / "connection" / f"{name}.env").read_text().splitlines():
            (assignment,) = shlex.split(line)
            variable, _, value = assignment.partition("=")
            monkeypatch.setenv(variable, value)
        if name == "kernel":
            config = config_from_environment()
        else:
            config = config_from_connection(Connection.from_json(value, conn_id="kernel_default"))
        assert config
        assert (config.api_key, config.project) == ("sk_your_key", "shop")
        assert config.base_url == "https://api.onkernel.com"


class TestTheTestButton:
    """The page quotes what the button says; each quotation is looked for in a real answer."""

    QUOTED = re.findall(
        r"`([^`]+)`",
        "".join(re.findall(r"^\|(.*?)\| ", BUTTON.read_text().split("| What it says")[1], re.MULTILINE)),
    )

    @pytest.fixture
    def answers(self, kernel_emulator, monkeypatch):
        from airflow_provider_kernel.hooks.kernel import KernelHook

        def ask(*, fault=None, **changes):
            kernel_emulator.clear_faults()
            if fault:
                kernel_emulator.add_fault(fault)
            connection = {"conn_type": "kernel", "host": kernel_emulator.base_url, "password": "sk-emulator"}
            monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps({**connection, **changes}))
            return KernelHook("c").test_connection()

        every = {"nth": None}
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
            return {
                "good": ask(),
                "plain http": ask(host=kernel_emulator.base_url.removeprefix("http://")),
                "dns": ask(host="https://kernel.invalid"),
                "refused": ask(host=nobody),
                "slow": ask(fault=Fault("*", "*", delay=5, **every), extra={"read_timeout": 0.2}),
                "wrong key": ask(password="sk-wrong"),
                "wrong project": ask(extra={"project": "no-such-project"}),
                "forbidden": ask(fault=Fault("*", "*", status=403, **every)),
                "a page": ask(fault=Fault("*", "*", status=200, body="<html>Log in</html>", **every)),
            }

    def test_test_button_says_what_the_page_quotes(self, answers):
        assert [name for name, (worked, _) in answers.items() if worked] == ["good"]
        said = " ".join(text for _, text in answers.values())
        assert len(self.QUOTED) == 12
        # For these it would take hosts that do not answer, that have a certificate of their own, and that hang up.
        elsewhere = {
            "no connection in time",
            "the TLS certificate is not trusted",
            "was cut during the TLS handshake",
        }
        assert [text for text in self.QUOTED if text not in said and text not in elsewhere] == []
        source = "".join(
            path.read_text() for path in (SNIPPETS.parents[1] / "airflow_provider_kernel").rglob("*.py")
        )
        assert [text for text in elsewhere if text not in source] == []


class TestTheHook:
    @pytest.fixture
    def code(self, kernel_connection):
        return runpy.run_path(str(SNIPPETS / "hook.py"))

    def start(self, emulator, action, payload=None):
        from airflow_provider_kernel.hooks.kernel import KernelHook

        with KernelHook() as hook:
            started = hook.invoke("demo", action, payload)
        emulator.wait_for_status(started.id, "running")
        return started.id

    def test_hook_snippet_invoke(self, code):
        assert code["search"]("Lisbon") == {"city": "Lisbon"}

    def test_hook_snippet_list(self, code, kernel_emulator):
        running = self.start(kernel_emulator, "hang")
        assert code["running_since_an_hour"]("demo") == [running]

    @pytest.mark.parametrize(("orders", "status"), [(None, "failed"), (42, "succeeded")])
    def test_hook_snippet_end(self, code, kernel_emulator, orders, status):
        assert code["end_it"](self.start(kernel_emulator, "hang"), orders) == status

    def test_hook_snippet_log(self, code, kernel_emulator, capsys):
        code["print_log"](self.start(kernel_emulator, "logs", {"lines": 3, "per_second": 10}))
        assert capsys.readouterr().out.count("line ") == 3

    def test_hook_snippet_browsers(self, code, kernel_emulator):
        invocation_id = self.start(kernel_emulator, "browsers", {"count": 2, "seconds": 600})
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 2)
        assert code["close_browsers"](invocation_id) == 2
        assert kernel_emulator.invocation(invocation_id).browsers == 0

    def test_hook_snippet_apps(self, code):
        assert code["actions_of"]("demo") >= {"echo", "hang"}

    def test_hook_snippet_retry_and_async(self, code, kernel_emulator):
        invocation_id = self.start(kernel_emulator, "hang")
        assert code["look_once"](invocation_id) == "running"
        assert asyncio.run(code["status_of"](invocation_id)) == "running"

    def test_hook_snippet_errors(self, code):
        assert code["start_if_possible"]("no-such-app").startswith("there is no such app")
        assert len(code["start_if_possible"]("demo")) == 24


def test_tests_of_the_page_on_testing_pass(tmp_path):
    # In a process of their own: their conftest sets up the Airflow of a project that is not this one.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "."],
        cwd=SNIPPETS / "testing",
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = sum(path.read_text().count("\ndef test_") for path in (SNIPPETS / "testing").glob("test_*.py"))
    assert re.search(rf"\b{written} passed", done.stdout), done.stdout
