"""
The errors of this package, as one tree. Those of invocations are in ``resources/invocations/errors.py``.

Every DAG file loads them. So what only an error of a request needs is loaded with that.

::

    KernelError
    ├── KernelConfigurationError         a setting that cannot work; nothing was sent
    ├── KernelInputError                 an argument that the API cannot take; nothing was sent
    ├── KernelConnectionError            no answer: not reached, or cut off
    │   └── KernelTimeoutError           no answer in time
    ├── KernelResponseError              an answer that is not the API's
    │   └── KernelResponseTooLargeError  one that is too large, or nested too deeply, to be read
    │       └── KernelRowTooLargeError   a row of a list that is too large by itself
    ├── KernelAPIError                   an error answer of the API
    │   ├── KernelBadRequestError        400, 422
    │   ├── KernelAuthenticationError    401
    │   ├── KernelPermissionError        403
    │   ├── KernelNotFoundError          404
    │   ├── KernelConflictError          409
    │   ├── KernelRateLimitError         429
    │   └── KernelServerError            5xx, 529 among them
    ├── KernelInvocationFinishedError    the invocation had already ended, with another result
    ├── KernelInvocationFailedError      the invocation ended as failed
    ├── KernelInvocationTimeoutError     the invocation did not end in time
    ├── KernelTaskKilledError            the task was killed
    ├── KernelLostContactError           the invocation could not be read for too long
    ├── KernelAmbiguousStartError        a start whose outcome is unknown
    └── KernelOutputError                the output cannot be handed to other tasks as it is
        └── KernelOutputTooLargeError    it is larger than the task wants to keep
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.redaction import mask
from airflow_provider_kernel.client.sanitize import escape_untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_kernel.client.destination import ConnectionProblem, Destination
    from airflow_provider_kernel.client.retry import Attempts

#: What to do where something else than the API has answered.
_OF_FOREIGN = "Check that the connection's host is the Kernel API and that no proxy answers in its place"


class KernelError(Exception):
    """
    The root of all errors of this package. No message shows an API key that this process uses.

    ``permanent`` says that trying the same again cannot help: a task that meets such an error fails without
    using up its retries.
    """

    permanent: bool = False
    #: Whether Kernel refuses the key, so that it has taken nothing of the request.
    refuses_key: bool = False

    #: The request that failed, such as ``PATCH /invocations/abc``; set by the client that sent it.
    request: str | None = None
    #: Where it was sent; set by the client that sent it.
    destination: Destination | None = None
    #: What to do about it, as a sentence.
    advice: str | None = None
    #: How hard the client tried; set when it gave up.
    attempts: Attempts | None = None

    def __init__(self, message: str = "") -> None:
        super().__init__(mask(message))

    @property
    def says_absent(self) -> bool:
        """Whether the API says that the object of the request does not exist."""
        return False

    @property
    def is_foreign(self) -> bool:
        """Whether the answer seems to be none of the Kernel API."""
        return False

    def describe_foreign(self, base_url: str) -> str:
        """Say that something else than the Kernel API has answered."""
        return f"Something answers at {base_url}, but it is not the Kernel API"

    def sent_to(self, destination: Destination) -> None:
        """Note where the request was sent, unless that is known."""
        if self.destination is None:
            self.destination = destination

    @property
    def summary(self) -> str:
        """The cause, and what to do about it, without the request."""
        text, advice = self._message, self._full_advice
        if (destination := self.destination) is None:
            parts = [text, advice]
        elif self.is_foreign:
            # What has answered may be long: it comes last.
            parts = [f"{self.describe_foreign(destination.base_url)} ({destination})", advice, text]
        else:
            parts = [f"{text} ({destination})", advice]
        return escape_untrusted(". ".join(part for part in parts if part))

    @property
    def _message(self) -> str:
        return str(self.args[0]) if self.args else ""

    @property
    def _full_advice(self) -> str | None:
        if self.destination is None or not self.is_foreign:
            return self.advice
        # An answer that refuses the key may be Kernel's, although its body says nothing.
        return f"{_OF_FOREIGN}. {self.advice}" if self.refuses_key else _OF_FOREIGN

    def __str__(self) -> str:
        text, advice, destination = self._message, self._full_advice, self.destination
        if self.request:
            text = f"{self.request}: {text}"
        if facts := ", ".join(str(fact) for fact in (self.attempts, destination) if fact):
            text = f"{text} ({facts})"
        if destination and self.is_foreign:
            text = f"{self.describe_foreign(destination.base_url)}. {text}"
        if advice:
            text = f"{text}. {advice}"
        # A message may quote an answer, a template or a file name, and Airflow logs it.
        return escape_untrusted(text)


class KernelConfigurationError(KernelError, ValueError):
    """A setting of the connection or the hook that cannot work; nothing was sent."""

    permanent = True


class KernelConfigurationUnavailableError(KernelConfigurationError):
    """The connection cannot be read at the moment, which says nothing about its settings; nothing was sent."""

    permanent = False


class KernelInputError(KernelError, ValueError):
    """An argument that the API cannot take; nothing was sent."""

    permanent = True


class KernelConnectionError(KernelError):
    """
    The API could not be reached, or the connection was cut before its answer was complete.

    An answer that belongs to another request counts as a lost answer, too.

    :param sent: whether the request may have reached the server. ``False`` only when no connection was made.
    :param problem: which step failed. Default: the network.
    """

    def __init__(self, message: str = "", *, sent: bool = True, problem: ConnectionProblem | None = None) -> None:
        from airflow_provider_kernel.client.destination import ConnectionProblem

        super().__init__(message)
        self.sent = sent
        self.problem = problem or ConnectionProblem.NETWORK
        self.advice = self.problem.value

    def sent_to(self, destination: Destination) -> None:
        """Do what the base class does, and name the host in the advice."""
        super().sent_to(destination)
        if self.advice == self.problem.value:
            self.advice = self.problem.advice_for(destination.base_url)


class KernelTimeoutError(KernelConnectionError):
    """The API did not answer in time."""

    def __init__(self, message: str = "", *, sent: bool = True) -> None:
        from airflow_provider_kernel.client.destination import ConnectionProblem

        super().__init__(message, sent=sent, problem=ConnectionProblem.TIMEOUT)


class KernelResponseError(KernelError):
    """The answer is not one of the Kernel API: a proxy's page, for example, or truncated JSON."""

    advice = _OF_FOREIGN

    def __init__(self, message: str = "", *, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code

    @property
    def is_foreign(self) -> bool:
        return True


class KernelResponseTooLargeError(KernelResponseError):
    """The answer is too large, or nested too deeply, to be read."""

    advice = "Request less at a time"

    @property
    def is_foreign(self) -> bool:
        return False


class KernelRowTooLargeError(KernelResponseTooLargeError):
    """Rows of a list are too large to be read even one by one."""

    advice = "Narrow the list, so that it does not show them: by app, action or start time, for example"


class KernelAPIError(KernelError):
    """
    An error answer of the Kernel API.

    :param message: the API's own text, or the start of the body when it was not the API's JSON.
    :param status_code: the HTTP status.
    :param code: the API's machine-readable code, when it gave one.
    :param details: further ``(code, message)`` pairs.
    :param retry_after: seconds to wait, when the server names them.
    :param request_id: the server's id of the request, for Kernel's support.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int = 0,
        code: str | None = None,
        details: Sequence[tuple[str | None, str | None]] = (),
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = mask(message)
        self.status_code = status_code
        self.code = code and mask(code)
        self.details = tuple((code and mask(code), text and mask(text)) for code, text in details)
        self.retry_after = retry_after
        self.request_id = request_id and mask(request_id)
        self.args = (self._describe(),)

    @property
    def is_foreign(self) -> bool:
        """Whether the answer has no code of the API, nor a status that may pass, which a proxy gives, too."""
        return self.code is None and self.status_code < 500 and self.status_code not in (408, 425, 429)

    def describe_foreign(self, base_url: str) -> str:
        return f"{super().describe_foreign(base_url)}, or a proxy is in front of it"

    def _describe(self) -> str:
        text = f"{self.status_code} {self.code}" if self.code else f"{self.status_code}"
        if self.message:
            text += f": {self.message}"
        for code, message in self.details:
            text += f" [{': '.join(part for part in (code, message) if part)}]"
        if self.request_id:
            text += f" (request {self.request_id})"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # args hold the description, not the constructor's arguments: rebuild from the attributes instead.
        return (_restore, (type(self), self.args, self.__dict__))


def _restore(cls: type[KernelAPIError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> KernelAPIError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class KernelBadRequestError(KernelAPIError):
    """400 or 422: the API does not accept the request as it is."""

    permanent = True


class KernelAuthenticationError(KernelAPIError):
    """401: the key is missing, wrong, expired or revoked."""

    permanent = True
    refuses_key = True
    advice = (
        "Put a valid one into the API key (password) of the Airflow connection; where kernel_default is no "
        "connection, into KERNEL_API_KEY"
    )


class KernelPermissionError(KernelAPIError):
    """403: the key is valid but not for this, often because it belongs to another project."""

    permanent = True
    refuses_key = True
    advice = "Check that the key may act in the project that the connection names"


#: The codes of a 404 about the project of the request.
_PROJECT_CODES = ("project_not_found", "projects_disabled")


class KernelNotFoundError(KernelAPIError):
    """404: no such invocation, app, version or action in this project, or no such project."""

    permanent = True
    advice = "Check the id or name, and that the connection's project is the one it belongs to"

    @property
    def says_absent(self) -> bool:
        """
        Whether the API says that the object of the request does not exist.

        A proxy's 404 has no code of the API, and one about the project says nothing of what is in it.
        """
        return self.code not in (None, *_PROJECT_CODES)

    def describe_foreign(self, base_url: str) -> str:
        return KernelError.describe_foreign(self, base_url)


class KernelConflictError(KernelAPIError):
    """409: the present state of the resource does not allow this."""

    permanent = True


class KernelRateLimitError(KernelAPIError):
    """429: too many requests, or too many invocations at once."""

    advice = "Give the tasks an Airflow pool no larger than the plan's limit of concurrent invocations"


class KernelServerError(KernelAPIError):
    """5xx: the API failed, or (529) has no capacity left just now."""


class KernelTaskKilledError(KernelError):
    """The task was killed while it waited for its invocation, or used its browser."""


#: The name that it had when invocations were the only kind of object.
KernelInvocationKilledError = KernelTaskKilledError


class KernelLostContactError(KernelError):
    """
    The invocation could not be read for too long, so that its state is unknown; it may still be running.

    Every failed poll is repeated until the deadline. Contact counts as lost when the key was refused for five
    minutes (401 or 403), and in a wait without a deadline after the longest time that an invocation can live.

    :param ends_nothing: whether a task must not end the invocation because of this: it is Airflow's access that
        failed, and the invocation may be in order.
    """

    def __init__(self, message: str = "", *, ends_nothing: bool = False) -> None:
        super().__init__(message)
        self.ends_nothing = ends_nothing


class KernelAmbiguousStartError(KernelError):
    """
    It is unknown whether an invocation or a browser was started, or which one it is.

    The answer to its create request got lost and the search for it was not conclusive, or the record of an earlier
    try cannot be read. It is permanent for the task, since another try could start a second run beside the first.
    """

    permanent = True
    advice = (
        "It MAY be running: look for it in the Kernel dashboard, end it if it is there, and clear the task. If "
        "nobody does, it ends by itself: an invocation at its async_timeout_seconds, a browser at its idle_timeout"
    )
