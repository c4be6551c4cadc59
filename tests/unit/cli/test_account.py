"""``airflow-kernel check`` and ``airflow-kernel apps``, with connections of the environment."""

import json

import pytest

from airflow_provider_kernel import cli
from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("kernel_connection")


@pytest.fixture
def environment(monkeypatch, kernel_emulator):
    monkeypatch.setenv("KERNEL_API_KEY", kernel_emulator.api_key)
    monkeypatch.setenv("KERNEL_BASE_URL", kernel_emulator.base_url)


@pytest.fixture
def shell(capsys):
    """Run a command; return its exit code and what it printed."""

    def run(*argv):
        code = cli.main(argv)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_check_says_whose_key_it_is(shell, kernel_emulator):
    code, out, _ = shell("check")
    assert code == 0
    assert out.startswith(
        f"kernel_default: Connected to {kernel_emulator.base_url}: the key belongs to organization "
    )


def test_check_of_the_environment_needs_no_connection(shell, environment, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_KERNEL_DEFAULT")
    code, out, _ = shell("check", "--environment")
    assert code == 0
    assert out.startswith("the environment: Connected to ")


def test_check_of_an_empty_environment_says_what_to_set(shell):
    code, out, err = shell("check", "--environment")
    assert (code, out) == (1, "")
    assert "KERNEL_API_KEY is not set. Set it to an API key" in err


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("GET", "/auth/**", status=401), "does not accept the API key"),
        (Fault("GET", "/**", status=500), "has an internal error"),
    ],
)
def test_check_fails_in_one_line_without_the_key(fault, words, shell, kernel_emulator):
    kernel_emulator.add_fault(fault)
    code, out, err = shell("check")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("airflow-kernel check: kernel_default: ")
    assert words in line
    assert kernel_emulator.api_key not in err


def test_check_of_a_connection_that_is_not_there_says_how_to_create_it(shell, monkeypatch):
    monkeypatch.setattr("airflow.secrets.metastore.MetastoreBackend.get_connection", lambda *_, **__: None)
    code, out, err = shell("check", "nope")
    assert (code, out) == (1, "")
    assert "There is no Airflow connection 'nope'" in err
    assert "airflow connections add nope" in err


def test_check_without_a_database_says_how_to_do_without(shell):
    code, out, err = shell("check", "nope")
    assert (code, out) == (1, "")
    assert "--environment needs none, and uses KERNEL_API_KEY" in err


@pytest.mark.parametrize("works", [True, False])
def test_check_prints_json_for_programs(works, shell, kernel_emulator):
    if not works:
        kernel_emulator.add_fault(Fault("GET", "/auth/**", status=401))
    code, out, _ = shell("check", "kernel_default", "--json")
    printed = json.loads(out)
    assert (code, printed["ok"], printed["connection"]) == (int(not works), works, "kernel_default")
    assert printed["message"]


def test_apps_are_a_table_of_versions_and_actions(shell, kernel_emulator):
    kernel_emulator.register("agent", "buy", lambda ctx: None)
    kernel_emulator.register("agent", "look", lambda ctx: None)
    code, out, _ = shell("apps", "agent")
    assert code == 0
    assert [line.split(maxsplit=2) for line in out.splitlines()] == [
        ["APP", "VERSION", "ACTIONS"],
        ["agent", "latest", "buy, look"],
    ]


def test_apps_are_all_apps_without_a_name(shell, kernel_emulator):
    kernel_emulator.register("agent", "buy", lambda ctx: None)
    _, out, _ = shell("apps")
    assert [line.split()[0] for line in out.splitlines()] == ["APP", "agent", "demo"]


def test_apps_print_json_for_programs(shell, kernel_emulator):
    kernel_emulator.register("agent", "buy", lambda ctx: None)
    code, out, _ = shell("apps", "agent", "--json")
    (app,) = json.loads(out)
    assert code == 0
    assert (app["app_name"], app["version"], [action["name"] for action in app["actions"]]) == (
        "agent",
        "latest",
        ["buy"],
    )


def test_unknown_app_is_an_error(shell):
    code, out, err = shell("apps", "nope")
    assert (code, out) == (1, "")
    assert "there is no app 'nope' in this project" in err


def test_apps_fail_in_one_line(shell, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", "/apps", status=401))
    code, out, err = shell("apps")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


def test_names_of_apps_cannot_control_the_terminal(shell, kernel_emulator):
    kernel_emulator.register("a\x1b[2Jb", "buy", lambda ctx: None)
    _, out, _ = shell("apps")
    assert "\x1b" not in out


def test_connection_and_environment_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["check", "kernel_default", "--environment"])
    assert stopped.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "apps"])
def test_commands_work_without_the_emulator(command, shell, monkeypatch):
    def missing():
        raise ImportError("not installed")

    monkeypatch.setattr(cli, "require_emulator_extra", missing)
    assert shell(command)[0] == 0
