"""A folded group of the log holds the lines of one source, also while other threads log."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
import time

import pytest

from airflow_provider_kernel.client.log_group import current_log, use_own_log
from airflow_provider_kernel.client.safe_logger import get_logger

log = get_logger("a.module")


@pytest.fixture
def texts(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def group():
    group = log.group("source %d", 1)
    yield group
    log.end(group)


def foreign_lines(texts):
    """Give the lines within a group that are not marked as lines of its source."""
    found, is_open = [], False
    for text in texts:
        if text.startswith("::group::"):
            assert not is_open
            is_open = True
        elif text == "::endgroup::":
            is_open = False
        elif is_open and not text.startswith("| "):
            found.append(text)
    return found


def test_line_of_another_group_closes_the_first(group, texts):
    other = log.group("source 2")
    for each in (group, other, group):
        log.log_in(each, logging.INFO, "| line")
    log.end(other)
    log.end(group)
    assert texts() == [
        "::group::source 1",
        "| line",
        "::endgroup::",
        "::group::source 2",
        "| line",
        "::endgroup::",
        "::group::source 1 (continued)",
        "| line",
        "::endgroup::",
    ]


def test_traceback_is_outside_of_the_group(group, texts):
    log.log_in(group, logging.INFO, "| line")
    try:
        int("wrong")
    except ValueError:
        log.exception("It failed")
    assert texts()[:4] == ["::group::source 1", "| line", "::endgroup::", "It failed"]
    assert "::group::" not in str(texts()[4:])


def test_group_holds_no_line_of_another_thread(group, texts):
    begun, stop = threading.Event(), threading.Event()

    def read():
        while not stop.is_set():
            log.log_in(group, logging.INFO, "| line")
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(5)
    for number in range(200):
        log.info("own %d", number)
    stop.set()
    reader.join()
    assert foreign_lines(texts()) == []
    assert [text for text in texts() if text.startswith("own")] == [f"own {number}" for number in range(200)]


def test_signal_handler_may_log_on_top_of_any_log_call(group, texts):
    """The handler comes a thousand times, wherever the main thread is in a log call."""
    before = signal.signal(signal.SIGUSR1, lambda *_: log.info("from the handler"))
    stop = threading.Event()

    def interrupt():
        while not stop.wait(0.0002):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    try:
        for _ in range(300):
            log.log_in(group, logging.INFO, "| line")
            log.info("own")
    finally:
        stop.set()
        interrupter.join()
        signal.signal(signal.SIGUSR1, before)
    assert texts().count("own") == 300
    assert texts().count("| line") == 300
    assert texts().count("from the handler") > 0


def test_line_waits_once_and_not_long_for_a_thread_that_hangs(texts, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.client.log_group._LONGEST_WAIT_SECONDS", 0.05)
    hangs, go_on = threading.Event(), threading.Event()

    def hang():
        with current_log().lines_of(None):
            hangs.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    assert hangs.wait(5)
    log.info("first")
    monkeypatch.setattr("airflow_provider_kernel.client.log_group._LONGEST_WAIT_SECONDS", 10.0)
    began = time.monotonic()
    log.info("second")
    assert time.monotonic() - began < 5
    go_on.set()
    thread.join()
    assert texts() == ["first", "second"]


def test_line_of_one_trigger_leaves_the_group_of_another_open(group, texts):
    def in_trigger(act, *arguments):
        context = contextvars.copy_context()
        context.run(use_own_log)
        return lambda: context.run(act, *arguments)

    write = in_trigger(log.log_in, group, logging.INFO, "| line")
    write()
    in_trigger(log.info, "of another trigger")()
    log.info("of no trigger")
    write()
    assert texts() == ["::group::source 1", "| line", "of another trigger", "of no trigger", "| line"]


def test_forked_child_waits_for_no_thread_of_its_parent(group):
    holds, go_on = threading.Event(), threading.Event()

    def hold():
        with current_log().lines_of(None):
            holds.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(5)
    if (pid := os.fork()) == 0:
        began = time.monotonic()
        with current_log().lines_of(None):
            os._exit(time.monotonic() - began > 0.25)
    go_on.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
