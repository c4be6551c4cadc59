"""How long a task is out of its process at least: what the setting may say."""

import logging

import pytest

from airflow_provider_kernel.lifecycle.min_deferral import (
    DEFAULT_MIN_DEFERRAL_SECONDS,
    min_deferral_seconds,
    seconds_to_hold,
)
from airflow_provider_kernel.provider_info import get_provider_info

LOG = logging.getLogger("min_deferral")


@pytest.mark.parametrize(("configured", "seconds"), [("0", 0.0), ("2.5", 2.5), (" 30 ", 30.0)])
def test_setting_is_a_number_of_seconds(configured, seconds, monkeypatch):
    monkeypatch.setenv("AIRFLOW__KERNEL__MIN_DEFERRAL", configured)
    assert min_deferral_seconds(LOG) == seconds


@pytest.mark.parametrize("configured", ["soon", "", "-1", "inf", "nan"])
def test_what_is_no_number_of_seconds_is_replaced_and_logged(configured, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW__KERNEL__MIN_DEFERRAL", configured)
    assert min_deferral_seconds(LOG) == DEFAULT_MIN_DEFERRAL_SECONDS
    assert f"[kernel] min_deferral is {configured!r}; it takes a number of seconds from 0" in caplog.text


def test_default_is_that_of_the_documented_setting(monkeypatch):
    monkeypatch.delenv("AIRFLOW__KERNEL__MIN_DEFERRAL")
    option = get_provider_info()["config"]["kernel"]["options"]["min_deferral"]
    assert min_deferral_seconds(LOG) == DEFAULT_MIN_DEFERRAL_SECONDS == float(option["default"])


@pytest.mark.parametrize(
    ("pickup", "seconds"),
    [
        (0, 10),
        pytest.param(3, 13, id="busy triggerer"),
        pytest.param(3600, 20, id="taken up again"),
        pytest.param(-30, 10, id="clocks differ"),
    ],
)
def test_event_is_held_for_the_least_length_and_the_delay_of_the_triggerer(pickup, seconds, monkeypatch):
    monkeypatch.setenv("AIRFLOW__KERNEL__MIN_DEFERRAL", "10")
    assert seconds_to_hold(pickup=pickup, logger=LOG) == seconds
