"""Calling a function in a forked child of the test's process."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any


def fork(function: Callable[[], Any], *, seconds: int = 20) -> Callable[[], Any]:
    """
    Call a function in a forked child.

    :param function: returns what JSON can hold.
    :param seconds: after this time the child is killed, whatever it hangs in.
    :return: waits for the child, and returns what the function has returned.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        try:
            os.write(theirs, json.dumps(function()).encode())
        except BaseException:  # noqa: BLE001 (whatever it is, the test must not go on in the child)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(theirs)

    def result() -> Any:
        with os.fdopen(ours) as pipe:
            text = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return json.loads(text)

    return result
