import pytest

from airflow_provider_kernel.lifecycle import owner
from airflow_provider_kernel.operators import _responder


@pytest.fixture(autouse=True, scope="module")
def ordinary_ends_that_give_up_soon():
    """Where Kernel refuses every end, no test waits for two minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, "WORKER_END_SECONDS", 0.5)
        patch.setattr(_responder, "WORKER_END_SECONDS", 0.5)
        yield
