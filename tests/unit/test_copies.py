"""Copies and pickles of what was used: they hold no key, and a copy is as good as a new object."""

import asyncio
import copy
import pickle

import pytest
from support.invocation_trigger import row

from airflow_provider_kernel.client import AsyncKernelClient, KernelClient, KernelConfig
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

each_copy = pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])


@pytest.fixture
def hook(kernel_connection):
    """A hook that was used, and is open."""
    with KernelHook() as hook:
        list(hook.list_apps())
        yield hook


@pytest.fixture
def config(hook):
    return hook.config


@pytest.fixture
def trigger(hook, kernel_emulator):
    """A trigger that has run to its end."""

    async def run():
        invocation_id = hook.invoke("demo", "hang").id
        trigger = row(invocation_id=invocation_id, poll_interval=0.01, stream_logs=False)
        kernel_emulator.finish(invocation_id, output=1)
        return trigger, [event.payload["status"] async for event in trigger.run()]

    trigger, statuses = asyncio.run(run())
    assert statuses == ["finished"]
    return trigger


@pytest.fixture
def notifier(hook, kernel_emulator):
    """A notifier that was called."""
    notifier = KernelInvocationNotifier(
        status="failed", reason="because", invocation_id=hook.invoke("demo", "hang").id
    )
    notifier({"run_id": "r"})
    assert kernel_emulator.invocations[-1].status == "failed"
    return notifier


@pytest.fixture(params=["hook", "trigger", "notifier"])
def used(request):
    return request.getfixturevalue(request.param)


def test_pickle_holds_no_key(used, kernel_emulator):
    pickled = pickle.dumps(used)
    assert kernel_emulator.api_key.encode() not in pickled
    assert type(pickle.loads(pickled)) is type(used)  # noqa: S301 (our own bytes)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda hook: pickle.loads(pickle.dumps(hook))])  # noqa: S301
def test_copy_of_an_open_hook_has_a_client_of_its_own(make, hook):
    with make(hook) as copied:
        assert [app.app_name for app in copied.list_apps()] == ["demo"]
        assert copied.get_conn() is not hook.get_conn()
    assert list(hook.list_apps())


@each_copy
def test_copy_of_a_trigger_that_has_run_waits_anew(make, trigger):
    async def run():
        return [event.payload async for event in make(trigger).run()]

    assert asyncio.run(run()) == [{"invocation_id": trigger.invocation_id, "status": "finished"}]


@each_copy
def test_copy_of_a_client_has_connections_of_its_own(make, config):
    with KernelClient(config) as client:
        client.send(list_apps())
        with make(client) as copied:
            assert copied.config is config
        assert client.send(list_apps()).items


@each_copy
async def test_copy_of_an_async_client_has_connections_of_its_own(make, config):
    async with AsyncKernelClient(config) as client:
        await client.send(list_apps())
        async with make(client) as copied:
            assert copied.config is config
        assert (await client.send(list_apps())).items


@each_copy
def test_copy_of_a_configuration_is_equal(make, config):
    assert make(config) == config


@pytest.mark.parametrize("make", [KernelClient, AsyncKernelClient, lambda config: config])
def test_client_and_configuration_are_not_pickled(make):
    with pytest.raises(TypeError, match="holds the API key and cannot be pickled"):
        pickle.dumps(make(KernelConfig("sk-of-a-test", "http://127.0.0.1:1")))
