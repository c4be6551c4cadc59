import math
from fractions import Fraction

import pytest

from airflow_provider_kernel.client.validation import is_missing, is_number, is_whole_number


@pytest.mark.parametrize("value", [0, -1, 10**400, 0.5, -2.5], ids=lambda value: repr(value)[:9])
def test_finite_int_or_float_is_a_number(value):
    assert is_number(value)


@pytest.mark.parametrize(
    "value", [True, False, None, "1", math.nan, math.inf, -math.inf, 1j, Fraction(1), [1]], ids=repr
)
def test_bool_text_and_infinity_are_no_numbers(value):
    assert not is_number(value)


def test_only_an_int_is_a_whole_number():
    assert [value for value in (0, -1, 10**400, True, 1.0, "1", None) if is_whole_number(value)] == [0, -1, 10**400]


def test_id_is_missing_if_it_is_none_or_empty_or_a_template_that_found_no_value():
    values = [None, "", " ", "None", "null", "abc", "none", 0, False, []]
    assert [value for value in values if is_missing(value)] == [None, "", " ", "None", "null"]
