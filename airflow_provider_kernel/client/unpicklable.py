"""What holds the API key is not pickled: a pickle ends up in files, in queues and in databases."""

from __future__ import annotations

from typing import Any


class HoldsKey:
    """Refuses to be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError(
            f"A {type(self).__name__} holds the API key and cannot be pickled. Make one where it is used, or "
            "pickle a KernelHook, which reads its Airflow connection anew"
        )
