"""The trigger's row in Airflow's database."""

import json

import pytest
from airflow.models import crypto
from airflow.models.trigger import Trigger
from cryptography.fernet import Fernet
from support.invocation_trigger import (
    row,
)
from support.serialized import smart_decode_trigger_kwargs
from support.triggerer import Triggerer

from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


ARGUMENTS = {
    "invocation_id": "inv_1",
    "kernel_conn_id": "kernel_other",
    "poll_interval": 2.5,
    "deadline": 1234567890.25,
    "cancel_on_kill": False,
    "stream_logs": False,
    "max_log_lines": 7,
    "is_new": False,
    "was_seen": True,
    "live_view_link": True,
    "poll_delays": [1.0, 2.5],
    "deferred_at": 1234567880.25,
    "limit": "execution_timeout",
    "was_deferred": True,
    "max_carried_bytes": 1000,
}


def forget_key():
    """Have Airflow read its Fernet key anew."""
    if hasattr(crypto, "_fernet"):  # Airflow 3.1
        crypto._fernet = None
    else:
        crypto.get_fernet.cache_clear()


@pytest.fixture
def encrypted(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    forget_key()
    yield
    forget_key()


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize("arguments", [ARGUMENTS, {"invocation_id": "inv_1"}], ids=["all", "defaults"])
def test_row_makes_the_same_trigger_again(arguments):
    classpath, kwargs = KernelInvocationTrigger(**arguments).serialize()
    stored = Trigger.encrypt_kwargs(kwargs)
    assert "inv_1" not in stored
    read = {k: smart_decode_trigger_kwargs(v) for k, v in Trigger._decrypt_kwargs(stored).items()}
    assert json.loads(json.dumps(kwargs)) == kwargs == read
    trigger_class = Triggerer().runner.get_trigger_by_classpath(classpath)
    assert trigger_class is KernelInvocationTrigger
    assert trigger_class(**read).serialize() == (classpath, kwargs)
    assert kwargs.items() >= arguments.items()


@pytest.mark.usefixtures("encrypted")
async def test_row_holds_no_secret_after_a_run(start, kernel_emulator, changes):
    trigger = row(invocation_id=start("echo", word="payload"), stream_logs=True)
    before = trigger.serialize()
    (event,) = [event async for event in trigger.run()]
    assert trigger.serialize() == before
    assert set(before[1]) == set(ARGUMENTS)
    assert all(isinstance(value, (str, int, float, bool, type(None))) for value in before[1].values())
    shown = json.dumps(before) + json.dumps(event.payload)
    assert kernel_emulator.api_key not in shown
    assert "payload" not in shown
