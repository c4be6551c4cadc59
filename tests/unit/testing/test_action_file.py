"""Actions of a user's own file."""

import pytest

from airflow_provider_kernel import cli
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing.action_file import ActionFileError, register_actions

GOOD = """
import json

PRICES = {"Lisbon": 120}

def prices(ctx, payload):
    return {"price": PRICES[payload["city"]]}

def _helper():
    pass
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "shop.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(("more", "app_name"), [("", "shop"), ("APP_NAME = 'tickets'\n", "tickets")])
def test_functions_of_the_file_are_actions_of_its_app(more, app_name, file, kernel_emulator, kernel_connection):
    assert register_actions(kernel_emulator, file(GOOD + more)) == app_name
    with KernelHook() as hook:
        (app,) = hook.list_apps(app_name=app_name)
        started = hook.invoke(app_name, "prices", {"city": "Lisbon"})
    assert [action.name for action in app.actions] == ["prices"]
    assert kernel_emulator.wait_for_status(started.id, "succeeded").output_json == {"price": 120}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:", "cannot be run: SyntaxError"),
        ("1 / 0", "cannot be run: ZeroDivisionError: division by zero"),
        ("import json", "has no action; write a function that takes"),
        ("APP_NAME = 5\ndef act(ctx): pass", "APP_NAME of .* is 5; it takes the name of an app"),
        ("def act(): pass", "act of .* cannot be an action: "),
    ],
)
def test_file_that_cannot_be_served_says_why(text, words, file, kernel_emulator):
    with pytest.raises(ActionFileError, match=words):
        register_actions(kernel_emulator, file(text))


def test_command_refuses_a_file_that_is_not_there(capsys, tmp_path):
    assert cli.main(["emulator", "--port", "0", "--actions", str(tmp_path / "nope.py")]) == 2
    assert f"there is no file {tmp_path / 'nope.py'}" in capsys.readouterr().err
