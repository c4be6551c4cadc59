"""Sends the ends that an owner orders, ordinary ones and urgent ones, each with clients of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.client.per_process import PerProcess
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.ending import end_within, for_ending
from airflow_provider_kernel.lifecycle.fencing import Answer, Fence
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.next_in_line import AFTER_WORKER, after_kill
from airflow_provider_kernel.lifecycle.resource import EndableResource, EndReport, end_failed
from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent
from airflow_provider_kernel.lifecycle.task_instances import TaskState

log = get_logger(__name__)


class TakenOverError(Exception):
    """Another try of the task has taken the object over while it was being ended."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("another try of the task owns it")
        self.answer = answer


class EndSender:
    """
    Send the ends of one object: ordinary ones, urgent ones, and one beside another that may be held up.

    :param fence: is asked again before each further attempt of an ordinary end.
    :param is_taken_over: whether another try owns the object by now.
    :param next_in_line: who ends it if this fails, for the log line.
    """

    def __init__(
        self,
        config: KernelConfig,
        *,
        fence: Fence | None,
        is_taken_over: Callable[[], bool] = lambda: False,
        next_in_line: str = AFTER_WORKER,
    ) -> None:
        self._source = config.source
        if self._source is not None:
            self._source.prepare()
        self._fence = fence
        self._next_in_line = next_in_line
        self._is_taken_over = is_taken_over
        #: Set when an urgent end overtakes the ordinary one, which is then abandoned before its next attempt.
        self.is_overtaken = SignalSafeEvent()
        # Each thread has a client of its own, which most tasks never need. The urgent ones must not log: the
        # interrupted main thread may hold the lock of a log handler.
        self._client = PerProcess(lambda: KernelClient(for_ending(config), sleep=self._pause))
        self._urgent_client = PerProcess(lambda: KernelClient(for_ending(config, urgent=True), logger=None))
        self._overtaking_client = PerProcess(lambda: KernelClient(for_ending(config, urgent=True), logger=None))

    def end(
        self,
        resource: EndableResource[Any],
        record: StartRecord,
        reason: str,
        *,
        until: float,
        urgent: bool = False,
        is_overtaking: bool = False,
    ) -> EndReport:
        """
        End it. Blocks. A failure is reported instead of raised.

        :param until: when the last attempt starts, by ``time.monotonic()``.
        :param urgent: whether the process is about to be killed; then nothing is logged.
        :param is_overtaking: whether this is an urgent end beside another one.
        :raises TakenOverError: when another try has taken the object over.
        """
        client = self._client
        if urgent:
            client = self._overtaking_client if is_overtaking else self._urgent_client
        next_in_line = after_kill(self._next_in_line) if urgent else self._next_in_line
        flow = end_within(
            max(0.0, until - time.monotonic()),
            resource,
            record,
            reason,
            urgent=urgent,
            next_in_line=next_in_line,
            logger=None if urgent else log,
            check=partial(self._check, record, asks=not urgent),
        )
        try:
            return client.get().run(flow)
        except TakenOverError:
            raise
        except Exception as error:  # noqa: BLE001 (a bug here must not let the signal handler wait in vain)
            return end_failed(resource.kind, record.external_id, error, next_in_line=next_in_line)

    def close(self) -> None:
        """Close the clients but that of an overtaking end."""
        for each in (self._client, self._urgent_client):
            if each.made is not None:
                each.made.close()

    def close_overtaking(self) -> None:
        """Close the client of an overtaking end. The last one to be closed."""
        if self._overtaking_client.made is not None:
            self._overtaking_client.made.close()
        if self._source is not None:
            self._source.close()

    def _pause(self, seconds: float) -> None:
        if self.is_overtaken.wait(seconds):
            raise KernelTaskKilledError("The task was killed meanwhile")

    def _check(self, record: StartRecord, *, asks: bool) -> None:
        answer = Answer(not self._is_taken_over(), TaskState.UNKNOWN)
        # An ordinary end takes minutes, in which this process may be stopped and come back as an old owner.
        if answer.may_end and asks and self._fence is not None:
            answer = self._fence.ask(record)
        if not answer.may_end:
            raise TakenOverError(answer)
