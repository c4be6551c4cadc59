"""Asset watchers in Airflow's own trigger runner: each completion is reported once, over restarts, by one poll."""

import asyncio
import logging

import pytest
from airflow.sdk import Asset, AssetWatcher
from support.triggerer import Triggerer

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers import finished
from airflow_provider_kernel.triggers.finished import KernelInvocationFinishedTrigger, deliveries

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")

POLL = 0.02


@pytest.fixture
def start(kernel_emulator, kernel_connection):
    def start(app="shop", action="buy"):
        kernel_emulator.register(app, action, lambda ctx: ctx.wait())
        with KernelHook() as hook:
            return hook.invoke(app, action, {"secret": "in the payload"}).id

    return start


async def until(holds):
    """Run the event loop until a condition holds."""

    async def wait():
        while not holds():  # noqa: ASYNC110 (Airflow's queues notify nobody)
            await asyncio.sleep(POLL)

    await asyncio.wait_for(wait(), 20)


class Watch:
    """A triggerer with watchers, and what Airflow has stored for them, over restarts."""

    def __init__(self, kernel, supervisor):
        self.kernel, self.supervisor = kernel, supervisor
        self.stored = []
        self.watchers = {}
        self.triggerer = None

    async def start(self, **watchers):
        """Start a triggerer with these watchers, by asset name; by default with the previous ones."""
        self.watchers = watchers or self.watchers
        self.triggerer = Triggerer()
        self.assets = {}
        for number, (asset, arguments) in enumerate(self.watchers.items(), start=1):
            trigger = KernelInvocationFinishedTrigger(poll_interval=POLL, **arguments)
            await self.triggerer.start(trigger, watched_assets={asset: f"kernel://{asset}"})
            self.assets[number] = asset
        await self.polls(3)

    async def polls(self, count=2):
        """Wait for further polls."""
        seen = len(self.kernel.requests("GET", "/invocations"))
        await asyncio.to_thread(self.kernel.wait_for, "GET", "/invocations", seen + count)

    async def events(self, count):
        """Wait until a number of events is to be stored."""
        await until(lambda: len(self.triggerer.runner.events) >= count)

    async def store(self, **options):
        """Store the events, and wait until the watchers have stored their cursors."""
        self.stored += [
            (self.assets[number], payload["invocation_id"])
            for number, payload in await self.triggerer.store_events(**options)
        ]
        await self.polls()

    async def stop(self):
        await self.triggerer.stop()
        self.triggerer.runner.events.clear()  # nobody sends them any more


@pytest.fixture
async def watch(kernel_emulator, supervisor):
    watch = Watch(kernel_emulator, supervisor)
    yield watch
    if watch.triggerer is not None:
        await watch.stop()


async def test_an_event_has_id_status_and_timing_but_no_output(watch, start, kernel_emulator):
    invocation_id = start()
    await watch.start(shop={})
    kernel_emulator.finish(invocation_id, output="secret output")
    await watch.events(1)
    (payload,) = watch.triggerer.events
    record = kernel_emulator.invocation(invocation_id)
    assert payload == {
        "invocation_id": invocation_id,
        "app_name": "shop",
        "action_name": "buy",
        "version": "latest",
        "status": "succeeded",
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "seconds": payload["seconds"],
    }
    assert payload["seconds"] > 0


async def test_an_event_holds_no_text_that_airflow_cannot_store(watch, kernel_emulator):
    await watch.start(shop={})
    row = {"id": "abc", "status": "failed", "app_name": "a\0b", "action_name": "x" * 999, "version": "v  1 ü"}
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, status=200, body=[row]))
    await watch.events(1)
    (payload,) = watch.triggerer.events
    assert payload["app_name"] == "a b"
    assert payload["action_name"] == "x" * 500 + "…"
    assert payload["version"] == "v  1 ü"


@pytest.mark.needs_airflow("3.3", "before, each watcher has a poll of its own")
async def test_all_watchers_of_a_connection_share_one_poll(watch, start, kernel_emulator):
    await watch.start(**{f"asset{number}": {"app_name": f"app{number}"} for number in range(20)})
    invocations = {f"asset{number}": start(app=f"app{number}") for number in range(20)}
    for invocation_id in invocations.values():
        kernel_emulator.finish(invocation_id)
    await watch.events(20)
    await watch.store()
    assert sorted(watch.stored) == sorted(invocations.items())
    (group,) = watch.triggerer.runner._shared_streams._groups.values()
    assert len(group._subscribers) == 20


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"app_name": "shop"}, ["a", "b", "c"]),
        ({"app_name": "shop", "action_name": "buy"}, ["a", "b"]),
        ({"app_name": "shop", "action_name": "buy", "status": "failed"}, ["b"]),
        ({"version": "latest"}, ["a", "b", "c", "d"]),
        ({"version": "v2"}, []),
    ],
)
async def test_a_watcher_gets_only_the_events_that_it_filters_for(
    arguments, reported, watch, start, kernel_emulator
):
    await watch.start(all={}, some=arguments)
    runs = {"a": start(), "b": start(), "c": start(action="look"), "d": start(app="other")}
    for name, invocation_id in runs.items():
        kernel_emulator.finish(invocation_id, "failed" if name == "b" else "succeeded")
    await watch.events(4 + len(reported))
    await watch.store()
    assert sorted(i for asset, i in watch.stored if asset == "some") == sorted(runs[name] for name in reported)


async def test_what_finished_before_the_first_poll_is_not_reported(watch, start, kernel_emulator):
    kernel_emulator.finish(start())
    await watch.start(shop={})
    kernel_emulator.finish(later := start())
    await watch.events(1)
    assert [payload["invocation_id"] for payload in watch.triggerer.events] == [later]


async def test_a_key_of_the_environment_is_named_once_and_read_at_each_poll(kernel_emulator, monkeypatch, caplog):
    monkeypatch.setattr(KernelHook, "_log", logging.getLogger("kernel_hook"))
    caplog.set_level("INFO", "kernel_hook")
    monkeypatch.delenv("AIRFLOW_CONN_KERNEL_DEFAULT")
    monkeypatch.setenv("KERNEL_API_KEY", kernel_emulator.api_key)
    monkeypatch.setenv("KERNEL_BASE_URL", kernel_emulator.base_url)
    stream = deliveries("kernel_default", POLL)
    for _ in range(3):
        await anext(stream)
    monkeypatch.setenv("KERNEL_API_KEY", "sk-another-key")
    polling = asyncio.ensure_future(anext(stream))
    await until(lambda: "Kernel's invocations cannot be listed" in caplog.text)
    polling.cancel()
    assert caplog.text.count("using KERNEL_API_KEY") == 1


async def test_an_outage_loses_no_completion(watch, start, kernel_emulator, caplog):
    await watch.start(shop={})
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, status=401))
    await watch.polls()
    kernel_emulator.finish(meanwhile := start())
    kernel_emulator.clear_faults()
    await watch.events(1)
    assert [payload["invocation_id"] for payload in watch.triggerer.events] == [meanwhile]
    assert "cannot be listed" in caplog.text


@pytest.mark.needs_airflow("3.3", "before, Airflow keeps nothing with an asset, and a watcher begins anew")
class TestRestarts:
    async def test_what_finishes_while_no_triggerer_runs_is_reported(self, watch, start, kernel_emulator):
        await watch.start(shop={})
        await watch.stop()
        kernel_emulator.finish(meanwhile := start())
        await watch.start()
        await watch.events(1)
        assert [payload["invocation_id"] for payload in watch.triggerer.events] == [meanwhile]

    async def test_a_stored_event_is_not_reported_again(self, watch, start, kernel_emulator):
        await watch.start(shop={})
        kernel_emulator.finish(first := start())
        await watch.events(1)
        await watch.store()
        await watch.stop()
        await watch.start()
        kernel_emulator.finish(second := start())
        await watch.events(1)
        await watch.store()
        assert watch.stored == [("shop", first), ("shop", second)]

    async def test_an_event_that_was_not_stored_is_reported_again(self, watch, start, kernel_emulator):
        await watch.start(shop={})
        kernel_emulator.finish(invocation_id := start())
        await watch.events(1)
        await watch.polls()
        await watch.stop()
        assert watch.stored == []
        await watch.start()
        await watch.events(1)
        await watch.store()
        assert watch.stored == [("shop", invocation_id)]

    async def test_an_event_that_airflow_failed_to_store_is_reported_again(
        self, watch, start, kernel_emulator, monkeypatch
    ):
        """Airflow gives up on an event that is not stored in time, and fails its trigger."""
        with monkeypatch.context() as patch:
            patch.setenv("AIRFLOW__TRIGGERER__SHARED_STREAM_ACK_TIMEOUT", "0.1")
            await watch.start(shop={})
        kernel_emulator.finish(invocation_id := start())
        await watch.events(1)
        await until(lambda: all(details["task"].done() for details in watch.triggerer.runner.triggers.values()))
        await watch.stop()
        assert watch.stored == []
        await watch.start()
        await watch.events(1)
        await watch.store()
        assert watch.stored == [("shop", invocation_id)]

    async def test_an_event_that_was_stored_in_the_last_moment_is_reported_twice_rather_than_never(
        self, watch, start, kernel_emulator
    ):
        """Airflow gives no way to detect this case."""
        await watch.start(shop={})
        kernel_emulator.finish(invocation_id := start())
        await watch.events(1)
        await watch.store(confirm=False)
        await watch.stop()
        await watch.start()
        await watch.events(1)
        await watch.store()
        assert watch.stored == [("shop", invocation_id)] * 2

    async def test_a_hundred_completions_over_two_restarts_are_reported_once_each(
        self, watch, start, kernel_emulator
    ):
        await watch.start(shop={"app_name": "shop"}, all={})
        runs = [start() for _ in range(100)]
        for number, invocation_id in enumerate(runs, start=1):
            kernel_emulator.finish(invocation_id, "failed" if number % 3 else "succeeded")
            if number % 10 == 0:
                await watch.polls()
                if number != 30:  # what waits there is lost with the triggerer
                    await watch.store()
            if number in (30, 70):
                await watch.stop()
                await watch.start()
        await watch.polls(3)
        await watch.store()
        for asset in ("shop", "all"):
            reported = [invocation_id for name, invocation_id in watch.stored if name == asset]
            assert sorted(reported) == sorted(runs)

    async def test_equal_watchers_of_two_assets_share_one_trigger_and_one_cursor(
        self, supervisor, start, kernel_emulator
    ):
        assets = {"one": "kernel://one", "two": "kernel://two"}
        stored = []
        for number in range(2):
            triggerer = Triggerer()
            await triggerer.start(KernelInvocationFinishedTrigger(poll_interval=POLL), watched_assets=assets)
            await until(lambda: len(supervisor.asset_states) == 2)
            kernel_emulator.finish(start())
            await until(lambda runner=triggerer.runner: runner.events)
            before = dict(supervisor.asset_states)
            stored += await triggerer.store_events()
            await until(lambda before=before: supervisor.asset_states != before)
            await triggerer.stop()
            assert len(stored) == number + 1
        assert {name for name, _ in supervisor.asset_states} == {"one", "two"}


class TestWithoutTheSharedStream:
    """Airflow 3.1 and 3.2."""

    async def test_a_watcher_without_the_shared_stream_has_its_own_poll(
        self, start, kernel_emulator, kernel_connection, supervisor
    ):
        trigger = KernelInvocationFinishedTrigger(poll_interval=POLL)
        events = trigger.run()
        first = asyncio.ensure_future(anext(events))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", "/invocations", 2)
        kernel_emulator.finish(invocation_id := start())
        assert (await first).payload["invocation_id"] == invocation_id
        await events.aclose()


class TestSerialization:
    def test_the_finished_trigger_is_serialized_without_a_secret(self, kernel_emulator):
        trigger = KernelInvocationFinishedTrigger(app_name="a", action_name="b", version="v", status="failed")
        classpath, kwargs = trigger.serialize()
        assert KernelInvocationFinishedTrigger(**kwargs).serialize() == (classpath, kwargs)
        assert kernel_emulator.api_key not in str(kwargs)

    def test_an_asset_can_be_watched_with_the_finished_trigger(self):
        watcher = AssetWatcher(name="finished", trigger=KernelInvocationFinishedTrigger(app_name="a"))
        assert Asset("agent", watchers=[watcher]).watchers == [watcher]

    def test_another_poll_interval_is_another_poll(self):
        slow, fast = (KernelInvocationFinishedTrigger(poll_interval=seconds) for seconds in (10, 1))
        same = KernelInvocationFinishedTrigger(poll_interval=10, app_name="other")
        assert slow.shared_stream_key() == same.shared_stream_key() != fast.shared_stream_key()

    @pytest.mark.parametrize("arguments", [{"poll_interval": 0}, {"status": "done"}])
    def test_invalid_arguments_of_the_finished_trigger_are_refused(self, arguments):
        with pytest.raises(KernelInputError):
            KernelInvocationFinishedTrigger(**arguments)


async def test_an_outage_of_the_asset_state_store_is_waited_for_and_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(finished, "_STORE_PAUSE_SECONDS", 0.0)

    class Store:
        fails = 5

        async def aget(self, key):
            self.fails -= 1
            if self.fails >= 0:
                raise ConnectionError("no route to the API server")

    cursors = finished._CursorStore(None, logging.getLogger("watcher"))
    cursors._stores = [Store()]
    assert await cursors.read() is None
    assert caplog.text.count("asset state store cannot be read: no route") == 1
