"""What a process makes for itself is made once in each process."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from airflow_provider_kernel.client.per_process import PerProcess


def test_value_is_made_once_in_a_process():
    value = PerProcess(object)
    assert value.get() is value.get()


def test_threads_that_ask_at_the_same_time_get_the_same_value():
    both = Barrier(2, timeout=5)
    value = PerProcess(lambda: (both.wait(), object())[1])
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: value.get(), range(2))
    assert first is second


def test_another_process_makes_its_own_value(monkeypatch):
    value = PerProcess(object)
    first = value.get()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 0)
        assert value.get() is not first
    assert value.get() is first
