"""
What a wait makes of requests that fail. An error about Kernel is no error about what is waited for.

While something is waited for that Kernel has confirmed once, a failed request is repeated, with growing pauses,
until the deadline of the wait. Two errors end the wait earlier: the API says that there is no such object, and
nobody has seen it yet; or Kernel refuses the key for minutes. Every waiting process goes by this one rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_kernel.client.errors import (
    KernelAPIError,
    KernelConfigurationError,
    KernelConnectionError,
    KernelError,
    KernelLostContactError,
    KernelNotFoundError,
    KernelResponseError,
)
from airflow_provider_kernel.client.flow import Flow, Sleep
from airflow_provider_kernel.client.retry import MAX_RETRY_AFTER_SECONDS, is_transient, pause_after
from airflow_provider_kernel.client.safe_logger import get_logger, only_informs

log = get_logger(__name__)

T = TypeVar("T")

#: How long the key may be refused, and not be replaced, before a wait gives up.
ACCESS_SECONDS = 300.0
#: How long what was just started may be "not found".
NOT_FOUND_GRACE_SECONDS = 30.0
#: The longest pause after a failed request, unless the usual one is longer or the server asks for more.
LONGEST_PAUSE_SECONDS = 60.0
#: How often an outage that goes on is logged.
LOG_EVERY_SECONDS = 300.0

_FIRST_PAUSE_SECONDS = 1.0

#: The errors of a request that was sent, or was about to be.
_REQUEST_ERRORS = (KernelAPIError, KernelConnectionError, KernelResponseError, KernelConfigurationError)


def is_refused_access(error: BaseException) -> bool:
    """Tell whether this Airflow's key or connection failed, which says nothing about any object of Kernel's."""
    return isinstance(error, KernelError) and (error.refuses_key or isinstance(error, KernelConfigurationError))


def is_about_the_request(error: KernelError) -> bool:
    """
    Tell whether the API refuses this very request, and would again.

    A 4xx without a code of the API comes from something on the way, such as a proxy, and may pass. One that says
    that the body is too large (413) often does, too, and does not pass.
    """
    if isinstance(error, KernelNotFoundError):
        return error.says_absent
    if not isinstance(error, KernelAPIError) or is_refused_access(error) or is_transient(error.status_code):
        return False
    return error.status_code < 500 and (error.code is not None or error.status_code == 413)


class Outage:
    """
    Count the requests that failed since the last one that succeeded.

    :param name: what is waited for, such as ``invocation abc``, for messages.
    :param is_new: whether it was started just now: its create succeeded, but a read may not find it yet.
    :param was_seen: whether an earlier read found it.
    :param longest: seconds without a successful request after which contact counts as lost; ``None`` where the
        deadline of the wait ends it.
    :param is_endless: whether nothing ends the wait.
    :param on_error: called for the first failed request of an outage, and then every few minutes.
    """

    def __init__(
        self,
        name: str,
        *,
        is_new: bool = False,
        was_seen: bool = False,
        longest: float | None = None,
        is_endless: bool = False,
        on_error: Callable[[KernelError], None] = lambda error: None,
    ) -> None:
        self.was_seen = was_seen
        #: The last error, while the outage lasts.
        self.error: KernelError | None = None
        self._name = name
        self._is_new = is_new
        self._longest = longest
        self._is_endless = is_endless
        self._on_error = only_informs(on_error, "A callback failed", log)
        self._began = self._in_contact = time.monotonic()
        self._first_pause = 0.0
        self._failures = 0
        self._refused_since: float | None = None
        self._logged = 0.0

    def succeeded(self) -> None:
        """Note a request that succeeded."""
        self.was_seen = True
        self.error = None
        self._in_contact = time.monotonic()
        self._failures = 0
        self._refused_since = None

    def failed(self, error: KernelError, pause: float = 0.0) -> float:
        """
        Note a request that failed.

        :param pause: the usual pause before the next one, in seconds.
        :return: the pause before it is repeated.
        :raises KernelLostContactError: when the outage has lasted too long.
        :raises KernelError: the error itself, when it ends the wait.
        """
        if not self._is_endless and (not isinstance(error, _REQUEST_ERRORS) or self._is_final(error)):
            raise error
        now = time.monotonic()
        self.error = error
        self._failures += 1
        if self._failures == 1:
            self._first_pause = pause
        if not self._is_endless:
            self._check_contact(error, now)
        if self._failures == 1 or now - self._logged >= LOG_EVERY_SECONDS:
            self._logged = now
            self._on_error(error)
        # The exponent is bounded: no float holds 2.0**1024.
        growing = min(self._first_pause * 2.0 ** min(self._failures - 1, 20), LONGEST_PAUSE_SECONDS)
        return pause_after(error, max(pause, growing), at_most=MAX_RETRY_AFTER_SECONDS)

    def _is_final(self, error: KernelError) -> bool:
        if self.was_seen:
            return False
        if not self._is_new:
            # Nothing has succeeded yet: the id, the key or the address may be wrong.
            return error.permanent or _is_tls(error)
        if error.says_absent:
            return time.monotonic() >= self._began + NOT_FOUND_GRACE_SECONDS
        return False

    def _check_contact(self, error: KernelError, now: float) -> None:
        if not is_refused_access(error):
            self._refused_since = None
        # The client has read the connection anew, and its key is refused, or it cannot be read.
        elif self._refused_since is None:
            self._refused_since = now
        if self._refused_since is not None and now - self._refused_since >= ACCESS_SECONDS:
            raise KernelLostContactError(
                f"No access to {self._name} for {now - self._refused_since:.0f} seconds. It is not ended because "
                f"of that, and may be in order. The last error: {error}",
                ends_nothing=True,
            ) from error
        if self._longest is not None and now - self._in_contact >= self._longest:
            raise KernelLostContactError(
                f"Lost contact with {self._name}: {self._failures} requests in a row failed, over "
                f"{now - self._in_contact:.0f} seconds; the last: {error}"
            ) from error


def persist(
    attempt: Callable[[], Flow[T]],
    outage: Outage,
    *,
    repeats: Callable[[KernelError], bool] = lambda error: True,
) -> Flow[T]:
    """
    Carry out a flow that can do no harm when it is repeated, until it succeeds or the outage ends it.

    :param attempt: makes the flow of one attempt.
    :param repeats: which errors to repeat it after.
    :raises KernelLostContactError: when the outage has lasted too long.
    :raises KernelError: another error, when it is none to repeat after.
    """
    while True:
        try:
            result = yield from attempt()
        except KernelError as error:
            if not repeats(error):
                raise
            pause = outage.failed(error, _FIRST_PAUSE_SECONDS)
        else:
            outage.succeeded()
            return result
        yield Sleep(pause)


def _is_tls(error: KernelError) -> bool:
    return isinstance(error, KernelConnectionError) and error.problem.is_of_tls
