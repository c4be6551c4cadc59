"""The event and the worker thread of `lifecycle/signal_safe.py`, used from signal handlers on the main thread."""

import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, WorkerThread

SIGNAL = signal.SIGUSR1
LONG = 60.0


@contextmanager
def handler(function):
    before = signal.signal(SIGNAL, lambda number, frame: function())
    try:
        yield
    finally:
        signal.signal(SIGNAL, before)


@contextmanager
def other_thread(function):
    """Run `function` on a thread beside the block."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    yield
    thread.join(LONG)
    assert not thread.is_alive()


def main_thread_is_in(code):
    """Say whether the innermost Python frame of the main thread belongs to `code`."""
    frame = sys._current_frames()[threading.main_thread().ident]
    return frame.f_code is code


def signal_main_thread_when_in(function):
    """Return a function for another thread: send the signal as soon as the main thread is in `function`."""

    def send():
        give_up = time.monotonic() + LONG
        while not main_thread_is_in(function.__code__):
            assert time.monotonic() < give_up
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident, SIGNAL)

    return send


@pytest.fixture
def worker():
    worker = WorkerThread("test-worker")
    yield worker
    worker.close()


def test_event_is_not_set_at_first():
    event = SignalSafeEvent()
    assert not event.is_set()
    assert event.wait(0) is False


def test_event_stays_set_for_every_wait_until_it_is_cleared():
    event = SignalSafeEvent()
    event.set()
    event.set()
    assert event.is_set()
    assert [event.wait(0), event.wait(), event.wait(1)] == [True, True, True]
    event.clear()
    assert not event.is_set()
    assert event.wait(0) is False
    event.set()
    assert event.wait(0) is True


def test_event_set_in_a_signal_handler_ends_the_wait_it_interrupts():
    event = SignalSafeEvent()
    with handler(event.set), other_thread(signal_main_thread_when_in(SignalSafeEvent.wait)):
        assert event.wait(LONG) is True


def test_event_wait_in_a_signal_handler_leaves_the_interrupted_wait_its_wake_up():
    event = SignalSafeEvent()
    in_handler = []
    entered = SignalSafeEvent()

    def wait_too():
        entered.set()
        in_handler.append(event.wait(LONG))

    def send_and_set():
        signal_main_thread_when_in(SignalSafeEvent.wait)()
        assert entered.wait(LONG)
        event.set()

    with handler(wait_too), other_thread(send_and_set):
        assert event.wait(LONG) is True
    assert in_handler == [True]


def test_event_set_once_wakes_up_all_waiting_threads():
    event = SignalSafeEvent()
    woken = SignalSafeEvent()
    results = []

    def wait():
        results.append(event.wait(LONG))
        if len(results) == 5:
            woken.set()

    for _ in range(5):
        threading.Thread(target=wait, daemon=True).start()
    event.set()
    assert woken.wait(LONG)
    assert results == [True] * 5


def test_event_survives_thousands_of_signals_during_wait_and_clear():
    event = SignalSafeEvent()
    seen = []
    finished = threading.Event()

    def send_many():
        while not finished.is_set():
            signal.pthread_kill(threading.main_thread().ident, SIGNAL)
            time.sleep(0)

    def on_signal():
        seen.append(1)
        event.set()

    with handler(on_signal), other_thread(send_many):
        while len(seen) < 2_000:
            assert event.wait(LONG) is True
            event.clear()
        finished.set()


def test_work_returns_its_result_and_runs_on_a_daemon_thread_of_that_name(worker):
    thread = worker.submit(threading.current_thread).result(LONG)
    assert thread.name == "test-worker"
    assert thread.daemon
    assert thread is not threading.main_thread()


def test_work_result_raises_what_the_work_raised(worker):
    def fail():
        raise KeyboardInterrupt("in the worker")

    work = worker.submit(fail)
    assert work.wait(LONG) is True
    with pytest.raises(KeyboardInterrupt, match="in the worker"):
        work.result(LONG)
    assert worker.submit(lambda: "still works").result(LONG) == "still works"


def test_work_result_times_out_while_the_work_goes_on(worker):
    go_on = SignalSafeEvent()
    work = worker.submit(lambda: go_on.wait(LONG))
    assert work.wait(0) is False
    with pytest.raises(TimeoutError):
        work.result(0)
    go_on.set()
    assert work.result(LONG) is True


def test_work_may_return_none_more_than_once(worker):
    work = worker.submit(lambda: None)
    assert work.result(LONG) is None
    assert work.result(0) is None


def test_worker_keeps_the_order_and_ends_after_close(worker):
    done = []
    go_on = SignalSafeEvent()
    worker.submit(lambda: go_on.wait(LONG))
    thread = worker.submit(threading.current_thread)
    for number in range(5):
        worker.submit(lambda number=number: done.append(number))
    worker.close()
    worker.close()
    with pytest.raises(RuntimeError, match="was closed"):
        worker.submit(lambda: done.append("too late"))
    go_on.set()
    thread.result(LONG).join(LONG)
    assert not thread.result(0).is_alive()
    assert done == [0, 1, 2, 3, 4]


def test_worker_does_what_a_signal_handler_submits_while_the_main_thread_awaits_a_result(worker):
    go_on = SignalSafeEvent()
    submitted = []

    with (
        handler(lambda: submitted.append(worker.submit(lambda: "from the handler"))),
        other_thread(signal_main_thread_when_in(SignalSafeEvent.wait)),
    ):
        first = worker.submit(lambda: go_on.wait(LONG))
        assert first.wait(0.0) is False
        # The handler runs on top of this wait; its work stands behind the first one.
        while not submitted:
            first.wait(0.05)
        go_on.set()
        assert first.result(LONG) is True
    assert submitted[0].result(LONG) == "from the handler"


def test_worker_answers_a_signal_handler_that_awaits_its_result(worker):
    results = []

    with (
        handler(lambda: results.append(worker.submit(lambda: "in time").result(LONG))),
        other_thread(signal_main_thread_when_in(SignalSafeEvent.wait)),
    ):
        never = SignalSafeEvent()
        while not results:
            never.wait(0.05)
    assert results == ["in time"]


def test_worker_survives_thousands_of_submits_from_a_handler_during_submit_and_result(worker):
    from_handler = []
    finished = threading.Event()

    def send_many():
        while not finished.is_set():
            signal.pthread_kill(threading.main_thread().ident, SIGNAL)
            time.sleep(0)

    with handler(lambda: from_handler.append(worker.submit(lambda: "handler"))), other_thread(send_many):
        while len(from_handler) < 2_000:
            assert worker.submit(lambda: "main").result(LONG) == "main"
        finished.set()
    assert {work.result(LONG) for work in from_handler} == {"handler"}


def test_worker_drain_waits_for_what_was_submitted(worker):
    go_on = SignalSafeEvent()
    work = worker.submit(lambda: go_on.wait(LONG))
    assert worker.drain(0) is False
    go_on.set()
    assert worker.drain(LONG) is True
    assert work.wait(0) is True


def test_worker_drain_after_close_waits_for_the_end_of_the_thread(worker):
    go_on = SignalSafeEvent()
    worker.submit(lambda: go_on.wait(LONG))
    worker.close()
    assert worker.drain(0) is False
    go_on.set()
    assert worker.drain(LONG) is True
