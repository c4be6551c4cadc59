"""
One poller for all triggers of an event loop that use the same connection.

How it works:

* A trigger *subscribes* to its invocation. When the first answer is due, the poller reads pages of the list of
  active invocations, 100 in one request, and publishes what they show to all subscriptions. An answer that comes
  before it is due counts as fresh, so that few subscriptions ever cause a request.
* Absence from the list proves nothing: rows shift between pages while they are read, the list may lag, and ended
  invocations are not in it. Missing invocations are searched in the list of all that started since, as long as its
  pages show more than one of them each; the others are fetched one by one.
* An invocation whose log stream says that it has ended is fetched by itself, at once: one request, as for every
  ended one, and its answer has the output.
* One or two subscriptions are not worth a list. They are fetched one by one.
* Together, the subscriptions send at most 1/50 of the requests that they would send individually, or four a second.
  The search for ended ones is not counted: it takes no more than one request for each, once.
* A ``Retry-After`` pauses all requests, also those of subscriptions that join during the pause.
* If the list cannot be read, or shows less than half, each invocation is fetched by itself for a minute.
* Asset watchers need another list, that of all invocations since the oldest active one. The poller reads it for
  them and publishes it to the subscriptions as well.

Triggers that begin at once do so in small batches, see :mod:`airflow_provider_kernel.triggers._polling.turns`.
"""

from airflow_provider_kernel.triggers._polling.shared_poller import SharedPoller, shared_poller
from airflow_provider_kernel.triggers._polling.stream_limiter import StreamLimiter, stream_limiter
from airflow_provider_kernel.triggers._polling.turns import Turns, turns

__all__ = ["SharedPoller", "StreamLimiter", "Turns", "shared_poller", "stream_limiter", "turns"]
