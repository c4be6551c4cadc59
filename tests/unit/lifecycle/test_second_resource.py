"""The lifecycle serves a resource that it does not know: widgets, which have a name that each start may choose."""

import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelAmbiguousStartError, KernelTaskKilledError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.end_all import Obligation, end_all
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.resource import EndReason, EndReport, Ownership
from airflow_provider_kernel.lifecycle.starter import ExactlyOnceStarter


@dataclass
class Widget:
    id: str
    name: str
    status: str = "turning"
    ended_because: str | None = None


class Workshop:
    """Where the widgets are. It may take an order and lose the answer, or lose the order itself."""

    def __init__(self):
        self.widgets = []
        self.loses_answers = 0
        self.loses_orders = 0
        self.answers = threading.Event()
        self.answers.set()
        self.order_came = threading.Event()

    def order(self, name):
        self.order_came.set()
        if self.loses_orders:
            self.loses_orders -= 1
            raise KernelAmbiguousStartError("no answer")
        widget = Widget(f"widget-{len(self.widgets)}", name)
        self.widgets.append(widget)
        assert self.answers.wait(30)
        if self.loses_answers:
            self.loses_answers -= 1
            raise KernelAmbiguousStartError("no answer")
        return widget


class OwnedWidget:
    kind = "widget"
    listing_lag_seconds = 0.0
    lifetime_seconds = 3600.0
    can_be_taken_over = True

    def __init__(self, workshop):
        self._workshop = workshop

    def input_fingerprint(self):
        return "a widget"

    def create(self, mark):
        return self._flow(lambda: self._workshop.order(mark.token))

    def find(self, record, *, patience):
        return self._flow(lambda: self._named(record.token))

    def get(self, external_id):
        return self._flow(lambda: next(w for w in self._workshop.widgets if w.id == external_id))

    def end(self, record, reason, *, urgent):
        def end():
            for widget in self._workshop.widgets:
                if record.external_id == widget.id or (record.external_id is None and record.token == widget.name):
                    widget.status, widget.ended_because = "still", str(reason)
                    return EndReport()
            return EndReport(found=False)

        return self._flow(end)

    def external_id(self, found):
        return found.id

    def describe(self, found):
        return found.status

    def is_over(self, found):
        return found.status == "still"

    def can_reconnect(self, found):
        return found.status == "turning"

    def _named(self, name):
        return next((widget for widget in self._workshop.widgets if widget.name == name), None)

    def _flow(self, step):
        return step()
        yield  # a flow is a generator; this one has no request to send


class Store(dict):
    """A task state store."""

    set = dict.__setitem__


class Try:
    """One try of a task that owns a widget."""

    def __init__(self, resource, store, *, number, max_tries):
        config = KernelConfig("sk-test-key", "http://127.0.0.1:9")
        ti = SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=number, max_tries=max_tries
        )
        self.ledger = Ledger(resource.kind, store, ti)
        self.owner = Owner(resource, config, ownership=Ownership.TASK)
        self._starter = ExactlyOnceStarter(
            self.owner, ledger=self.ledger, open_client=lambda: KernelClient(config), ti=ti
        )

    def start(self):
        last = self.ledger.last()
        if last is not None:
            self.owner.adopt(last)
        return self._starter.run(last, is_owned=True).external_id


@pytest.fixture
def workshop():
    return Workshop()


@pytest.fixture
def make_try(workshop):
    tries, store = [], Store()

    def make_try(number=1, *, max_tries=3):
        tries.append(Try(OwnedWidget(workshop), store, number=number, max_tries=max_tries))
        return tries[-1]

    make_try.store = store
    yield make_try
    for each in tries:
        each.owner.close()


def test_widget_is_started_once_and_remembered_under_its_kind(make_try, workshop):
    first = make_try()
    assert first.start() == "widget-0"
    assert [widget.status for widget in workshop.widgets] == ["turning"]
    assert make_try.store["kernel_widget"]["external_id"] == "widget-0"
    assert first.owner.external_id == "widget-0"


def test_widget_whose_answer_got_lost_is_found_and_not_started_twice(make_try, workshop):
    workshop.loses_answers = 1
    assert make_try().start() == "widget-0"
    assert len(workshop.widgets) == 1


def test_widget_whose_order_got_lost_is_ordered_again(make_try, workshop):
    workshop.loses_orders = 1
    assert make_try().start() == "widget-0"
    assert len(workshop.widgets) == 1


def test_next_try_after_a_crash_reconnects_to_the_widget(make_try, workshop):
    make_try().start()
    assert make_try(2).start() == "widget-0"
    assert len(workshop.widgets) == 1


def test_next_try_after_a_crash_before_the_answer_finds_the_widget(make_try, workshop):
    token = make_try().ledger.record_intent("a widget").token
    workshop.order(token)
    assert make_try(2).start() == "widget-0"
    assert len(workshop.widgets) == 1


def test_next_try_after_a_crash_replaces_a_widget_that_cannot_be_taken_up(make_try, workshop):
    make_try().start()
    workshop.widgets[0].status = "still"
    assert make_try(2).start() == "widget-1"


def test_next_try_after_a_clear_ends_the_widget_and_starts_another(make_try, workshop):
    make_try().start()
    assert make_try(2, max_tries=4).start() == "widget-1"
    assert [widget.ended_because for widget in workshop.widgets] == [EndReason.TASK_CLEARED.value, None]


def test_kill_ends_the_widget(make_try, workshop):
    killed = make_try()
    killed.start()
    killed.owner.kill()
    assert workshop.widgets[0].ended_because == EndReason.TASK_KILLED.value
    with pytest.raises(KernelTaskKilledError, match="owned widget widget-0"):
        killed.owner.check()


def start_arguments(each):
    record = each.ledger.record_intent("a widget")
    return record, SimpleNamespace(token=record.token)


def test_kill_during_the_order_ends_the_widget_by_its_mark(make_try, workshop):
    workshop.answers.clear()
    killed = make_try()
    starting = threading.Thread(target=killed.owner.start, args=start_arguments(killed), daemon=True)
    starting.start()
    assert workshop.order_came.wait(30)
    killed.owner.kill()
    assert workshop.widgets[0].ended_because == EndReason.TASK_KILLED.value
    workshop.answers.set()
    starting.join(30)
    assert not starting.is_alive()


def test_end_because_the_task_ends_early_ends_the_widget(make_try, workshop):
    ending = make_try()
    ending.start()
    assert ending.owner.end(EndReason.TASK_ENDED_EARLY)
    assert workshop.widgets[0].ended_because == EndReason.TASK_ENDED_EARLY.value


def test_widget_without_an_owner_is_ended_by_its_id(make_try, workshop, kernel_emulator, kernel_connection):
    make_try().start()
    with KernelHook() as hook:
        obligation = Obligation(hook.get_conn(), OwnedWidget(workshop), "widget-0", EndReason.RUN_OVER)
        (report,) = end_all([obligation], seconds=1.0, next_in_line="nobody")
    assert report.is_done
    assert workshop.widgets[0].ended_because == EndReason.RUN_OVER.value
