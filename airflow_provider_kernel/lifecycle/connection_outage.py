"""What a process makes of a connection that cannot be used, while it owns an object."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.client.outage import Outage

#: The first pause before the connection is read again, in seconds.
PAUSE_SECONDS = 2.0


def connection_outage(name: str, logger: Any, *, is_endless: bool = False) -> Outage:
    """
    Count the reads of a connection that failed, for an object that Kernel has confirmed before.

    :param name: the object, such as ``invocation abc``.
    :param is_endless: whether nothing but time ends it, as for an end that is owed.
    """
    return Outage(
        name,
        was_seen=True,
        is_endless=is_endless,
        on_error=lambda error: logger.warning("The connection cannot be used: %s; trying again", error),
    )
