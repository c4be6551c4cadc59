"""The hook for the Kernel API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection

from airflow_provider_kernel._compat import AirflowNotFoundException, amask_secrets, mask_secrets
from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.per_process import PerProcess
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import FINAL_STATUSES, InvocationStatus
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.client.safe_logger import SafeLogMixin
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID, form_widgets, ui_field_behaviour
from airflow_provider_kernel.hooks.browser_access import BrowserAccess
from airflow_provider_kernel.hooks.connection import (
    config_from_connection,
    config_from_environment,
    forms_to_mask,
    no_connection,
    owner_from_connection,
    warning_of_type,
)
from airflow_provider_kernel.hooks.connection_source import ConnectionSource
from airflow_provider_kernel.hooks.lookup import acheck_absent, check_absent, denied
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.validation import DEFAULT_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.apps import AppVersion
    from airflow_provider_kernel.client.resources.invocations.browser_models import Browser
    from airflow_provider_kernel.client.resources.invocations.event_models import LogLine, StreamError


class KernelHook(BrowserAccess, SafeLogMixin, BaseHook):
    """
    Call the Kernel API with the settings of an Airflow connection.

    The hook reads the connection once, and anew when Kernel refuses its key, which may have been replaced. It keeps
    one client for all calls. Threads may share it, and so may forked processes, each with network connections of
    its own. A copy or a pickle holds no key: it reads its connection itself. Use the hook as a context manager, or
    :meth:`close` it. Every error of a method is a ``KernelError``.

    If there is no connection ``kernel_default``, the hook reads ``KERNEL_API_KEY``, ``KERNEL_BASE_URL`` and
    ``KERNEL_PROJECT`` from the environment. Another id, and a connection that cannot be read, is an error.

    :param kernel_conn_id: id of an Airflow connection of type ``kernel``.
    :param retry: replaces the retry settings of the connection.
    :param sleep: called with the seconds to wait between attempts and between polls.
    """

    conn_name_attr = "kernel_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "kernel"
    hook_name = "Kernel"

    #: Held while a hook reads its connection or creates its client, so that concurrent threads share them. A
    #: forked child has a lock of its own: a thread of the parent may hold the lock while it waits for Airflow.
    _lock = PerProcess(threading.RLock)

    def __init__(
        self,
        kernel_conn_id: str = default_conn_name,
        *,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.kernel_conn_id = kernel_conn_id
        self._retry = retry
        self._sleep = sleep
        self._config: KernelConfig | None = None
        self._client: KernelClient | None = None
        self._was_stored = False
        self._has_named_environment = False
        self._has_named_type = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds the key: a copy reads its connection itself and has a client of its own."""
        state = {**self.__dict__, "_config": None, "_client": None}
        state.pop("_log", None)
        return state

    # --- connection form of Airflow 3.1; later versions read the provider metadata (same table of fields) ------

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return {key.replace("-", "_"): value for key, value in ui_field_behaviour().items()}

    # --- clients ----------------------------------------------------------------------------------------------

    @property
    def config(self) -> KernelConfig:
        """
        The client's configuration, read from the connection at the first use.

        :raises KernelConfigurationError: when there is no such connection, or when a field of it is invalid.
        """
        config = self._config
        if config is None:
            with self._lock.get():
                config = self._config = self._config or self._with_source(self._load_config())
        return config

    def _with_source(self, config: KernelConfig) -> KernelConfig:
        """Let the clients of this process find the connection's present key when Kernel refuses this one."""
        label = f"connection {short_repr(self.kernel_conn_id)}" if self._was_stored else "KERNEL_API_KEY"
        source = ConnectionSource(self.kernel_conn_id, config, self._load_config, self._aload_config, label=label)
        return replace(config, source=source)

    def _load_config(self) -> KernelConfig:
        try:
            connection = self.get_connection(self.kernel_conn_id)
        except AirflowNotFoundException:
            check_absent(self.kernel_conn_id)
            connection = None
        except PermissionError as error:
            raise denied(self.kernel_conn_id, error) from None
        # Before anything can fail with a traceback that shows it.
        if forms := forms_to_mask(connection):
            mask_secrets(forms)
        return self._build_config(connection)

    async def aget_config(self) -> KernelConfig:
        """Do what :attr:`config` does, without blocking the event loop."""
        if self._config is None:
            self._config = self._with_source(await self._aload_config())
        return self._config

    async def _aload_config(self) -> KernelConfig:
        try:
            connection = await self.aget_connection(self.kernel_conn_id)
        except AirflowNotFoundException:
            await acheck_absent(self.kernel_conn_id)
            connection = None
        except PermissionError as error:
            raise denied(self.kernel_conn_id, error) from None
        if forms := forms_to_mask(connection):
            await amask_secrets(forms)
        return self._build_config(connection)

    async def areload_config(self) -> KernelConfig:
        """Read the connection again, which may have changed, and return the configuration."""
        self._config = None
        return await self.aget_config()

    def _build_config(self, connection: Connection | None) -> KernelConfig:
        if connection is not None and (warning := warning_of_type(connection)) and not self._has_named_type:
            self._has_named_type = True
            self.log.warning("%s", warning)
        config = config_from_connection(connection) if connection else config_from_environment()
        self._owner = owner_from_connection(connection)
        if connection is not None:
            self._was_stored = True
        elif self._was_stored:
            # Another account's key is no substitute.
            raise KernelConfigurationError(f"Airflow does not find the connection {self.kernel_conn_id!r} any more")
        if config is None or (connection is None and self.kernel_conn_id != DEFAULT_CONN_ID):
            # Another id names another account, or another project.
            raise no_connection(self.kernel_conn_id, has_key=config is not None)
        if connection is None and not self._has_named_environment:
            self._has_named_environment = True
            self.log.info(
                "There is no Airflow connection %r; using KERNEL_API_KEY of the environment for %s",
                self.kernel_conn_id,
                config.base_url,
            )
        return replace(config, retry=self._retry) if self._retry else config

    def get_conn(self) -> KernelClient:
        """Return the hook's client. It is created at the first use and kept until :meth:`close`."""
        client = self._client
        if client is None:
            with self._lock.get():
                client = self._client = self._client or KernelClient(self.config, sleep=self._sleep)
        return client

    async def get_async_conn(self) -> AsyncKernelClient:
        """Create a client for the running event loop. The caller must close it."""
        return AsyncKernelClient(await self.aget_config())

    def close(self) -> None:
        """Close the client's connections. The next call creates a new client."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> KernelHook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- calls ------------------------------------------------------------------------------------------------

    def invoke(
        self,
        app_name: str,
        action_name: str,
        payload: Any = UNSET,
        *,
        version: str = "latest",
        async_timeout_seconds: int | None = None,
    ) -> Invocation:
        """
        Start an invocation, and return as soon as Kernel has accepted it.

        The request is sent again only if the server provably did not accept it.

        :param payload: any value that JSON can hold; text is sent as a JSON string. Default: no payload.
        :param async_timeout_seconds: Kernel ends the invocation after this time, 10 to 3600. Default: Kernel's own,
            which is 900.
        :return: id, action and status; the answer holds no more.
        :raises KernelAmbiguousStartError: when the server may have started it, but sent no usable answer.
        :raises KernelError: when it was not started.
        """
        request = requests.create_invocation(
            app_name, action_name, payload=payload, version=version, async_timeout_seconds=async_timeout_seconds
        )
        return self.get_conn().run(flows.start_invocation(request))

    def get_invocation(self, invocation_id: str) -> Invocation:
        """
        Fetch an invocation.

        :raises KernelNotFoundError: when the project has no such invocation.
        """
        return self.get_conn().send(requests.get_invocation(invocation_id))

    def wait_for_invocation(
        self,
        invocation_id: str,
        *,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deadline: float | None = None,
        is_new: bool = False,
        on_browser: Callable[[Invocation, Browser], None] | None = None,
        client: KernelClient | None = None,
    ) -> Invocation:
        """
        Poll an invocation until it has ended, and never cancel it.

        A poll that fails is repeated until the deadline, once one has succeeded.

        :param poll_interval: seconds between two polls; the first polls come sooner.
        :param deadline: when to give up, in seconds since the epoch (``time.time()``). Default: never.
        :param is_new: whether it has just been started; it may then be "not found" at first, and the first poll
            comes after a short pause, too.
        :param on_browser: called once, with its first browser, if one is found while it runs. Without it, browsers
            are not fetched. If it fails, that is logged, and the wait goes on.
        :param client: sends the polls in place of the hook's own client.
        :return: the invocation, succeeded or failed.
        :raises KernelInvocationTimeoutError: when the deadline has passed.
        :raises KernelLostContactError: when the key was refused for five minutes; without a deadline also when no
            poll has succeeded for 65 minutes, which is longer than an invocation can live.
        :raises KernelError: when the first poll fails with an error that will not pass.
        """
        flow = wait_for_invocation(
            invocation_id,
            poll_interval=poll_interval,
            deadline=deadline,
            polls_at_once=not is_new,
            is_new=is_new,
            on_change=self._log_status,
            on_poll_error=lambda error: self.log.warning("%s; polling again", error),
            on_browser=on_browser,
        )
        return (client or self.get_conn()).run(flow, sleep=self._sleep)

    def _log_status(self, invocation: Invocation) -> None:
        if not invocation.is_final:  # the caller gets that, and logs what it makes of it
            self.log.info("Invocation %s %s", invocation.id, invocation.status_phrase)

    def follow_invocation(self, invocation_id: str) -> Iterator[LogLine | StreamError]:
        """
        Stream an invocation's log from its start, and reconnect when the stream breaks.

        The stream does not prove how the invocation ended; :meth:`get_invocation` does.

        :return: each line once, as the action wrote it, and the errors reported in the stream, until the invocation
            ends, the stream is refused, or nothing came for five minutes in spite of reconnects.
        """
        from airflow_provider_kernel.client.resources.invocations.events import EventFollower

        return self.get_conn().follow(EventFollower(invocation_id))

    def list_invocations(
        self,
        *,
        app_name: str | None = None,
        version: str | None = None,
        action_name: str | None = None,
        deployment_id: str | None = None,
        status: InvocationStatus | str | None = None,
        since: datetime | str | None = None,
        query: str | None = None,
    ) -> Iterator[Invocation]:
        """
        Iterate over the invocations of the project. Each page is fetched when the iterator reaches it.

        With a ``status`` of active invocations the whole list is fetched before the first one, so that they may be
        ended meanwhile. A row that cannot be read is left out, and logged.

        :param since: only those started after this time: an aware ``datetime``, or an age such as ``"5m"``.
        :param query: free-text search over id, app and action name.
        """
        return self.get_conn().pages(
            requests.list_invocations(
                app_name=app_name,
                version=version,
                action_name=action_name,
                deployment_id=deployment_id,
                status=status,
                since=since,
                query=query,
            ),
            # Each invocation that is ended leaves such a list, and moves its pages.
            snapshot=status is not None and str(status) not in FINAL_STATUSES,
        )

    def update_invocation(
        self, invocation_id: str, status: InvocationStatus | str, output: Any = UNSET
    ) -> Invocation:
        """
        End an invocation: set its status, and its output if one is given.

        :param status: ``succeeded`` or ``failed``.
        :param output: any value that JSON can hold; ``None`` is sent as ``null``. Default: no output is sent.
        :return: the invocation after the update.
        :raises KernelInvocationFinishedError: when it had already ended in the other state.
        """
        return self.get_conn().run(flows.update_invocation(invocation_id, status, output))

    def complete_invocation(self, invocation_id: str, output: Any = UNSET) -> Invocation:
        """End an invocation as ``succeeded``, as :meth:`update_invocation` does."""
        return self.update_invocation(invocation_id, InvocationStatus.SUCCEEDED, output)

    def cancel_invocation(self, invocation_id: str, reason: str = EndReason.CANCELLED.value) -> Invocation:
        """
        Cancel an invocation: end it as ``failed``, and end its browsers.

        An invocation that has already succeeded stays as it is.

        :param reason: becomes the invocation's output, ``{"error": reason}``.
        :return: the invocation in its present state.
        """
        cancellation = self.get_conn().run(flows.cancel_invocation(invocation_id, reason))
        for level, text in cancellation.report():
            self.log.log(level, text)
        return cancellation.invocation

    def list_invocation_browsers(self, invocation_id: str) -> list[Browser]:
        """List an invocation's running browsers. Their URLs hold access tokens: treat them as secrets."""
        return self.get_conn().send(requests.list_invocation_browsers(invocation_id))

    def delete_invocation_browsers(self, invocation_id: str) -> None:
        """End an invocation's browsers. Its status does not change."""
        self.get_conn().send(requests.delete_invocation_browsers(invocation_id))

    def list_apps(
        self, *, app_name: str | None = None, version: str | None = None, query: str | None = None
    ) -> Iterator[AppVersion]:
        """
        Iterate over the deployed app versions of the project. Each page is fetched when the iterator reaches it.

        :param query: free-text search over app names.
        """
        from airflow_provider_kernel.client.resources.apps import list_apps

        return self.get_conn().pages(list_apps(app_name=app_name, version=version, query=query))

    def test_connection(self) -> tuple[bool, str]:
        """
        Ask the API for the key's organization and project. It changes nothing at Kernel.

        :return: whether it worked, and a message for the user, which never holds the key.
        """
        from airflow_provider_kernel.hooks.connection_check import check_connection

        return check_connection(lambda: self.config)
