"""Which parameters of a function are filled, and which the caller gives."""

import functools
import inspect

import pytest

from airflow_provider_kernel.browser.filling import filled_of, filling, is_async, refuse_given, without_filled
from airflow_provider_kernel.client.errors import KernelInputError

PAGE, BROWSER = object(), object()


def call(function, *args, **kwargs):
    with filling(browser=BROWSER, page=PAGE):
        return without_filled(function)(*args, **kwargs)


def between(url, page, day, browser=None, *, page_number=1):
    return url, page, day, browser, page_number


def first(page, *urls, **options):
    return page, urls, options


def keyword_only(url, *, browser, limit=5):
    return url, browser, limit


def annotated(page: "Page", url: str):  # noqa: F821
    return page, url


def positional_only(page, url, /):
    return page, url


def with_default(page=None, url="u"):
    return page, url


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "expected"),
    [
        (between, ("u", "d"), {}, ("u", PAGE, "d", BROWSER, 1)),
        (between, ("u",), {"day": "d", "page_number": 2}, ("u", PAGE, "d", BROWSER, 2)),
        (first, ("a", "b"), {"x": 1}, (PAGE, ("a", "b"), {"x": 1})),
        (keyword_only, ("u",), {"limit": 7}, ("u", BROWSER, 7)),
        (annotated, ("u",), {}, (PAGE, "u")),
        (positional_only, ("u",), {}, (PAGE, "u")),
        (with_default, (), {}, (PAGE, "u")),
        (with_default, ("v",), {}, (PAGE, "v")),
    ],
)
def test_positional_arguments_fill_the_other_parameters_in_order(function, args, kwargs, expected):
    assert call(function, *args, **kwargs) == expected


def test_signature_of_a_wrapped_function_shows_only_what_the_caller_gives():
    assert list(inspect.signature(without_filled(between)).parameters) == ["url", "day", "page_number"]
    assert filled_of(without_filled(between)) == ("page", "browser")


def test_function_under_a_decorator_of_its_own_is_filled():
    def logged(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return ["logged", function(*args, **kwargs)]

        return wrapper

    assert call(logged(annotated), "u") == ["logged", (PAGE, "u")]


def test_async_function_stays_async():
    async def fetch(page, url):
        return page, url

    assert is_async(without_filled(fetch))


def test_generator_function_stays_one_and_returns_its_result():
    # Airflow's runner of functions exhausts it, for the events of assets that it yields.
    def crawl(page, url):
        yield "metadata"
        return page, url

    wrapped = without_filled(crawl)
    assert inspect.isgeneratorfunction(wrapped)
    with filling(page=PAGE):
        steps = wrapped("u")
        assert next(steps) == "metadata"
        with pytest.raises(StopIteration) as end:
            next(steps)
    assert end.value.value == (PAGE, "u")


def test_variable_arguments_named_page_are_not_filled():
    def function(*page, **browser):
        return page, browser

    assert call(function, 1, x=2) == ((1,), {"x": 2})


def test_function_outside_of_a_task_takes_all_of_its_parameters():
    assert without_filled(annotated)("a page of mine", "u") == ("a page of mine", "u")


def test_wrapping_twice_changes_nothing():
    once = without_filled(between)
    assert without_filled(once) is once


def test_too_many_arguments_are_refused():
    with pytest.raises(TypeError, match="too many positional arguments"):
        call(annotated, "u", "v")


def test_given_page_is_refused_with_what_to_rename():
    with pytest.raises(KernelInputError, match=r"page is mapped, but .* fills it.*Rename .* page_name"):
        refuse_given(without_filled(annotated), {"page": [1]}, how="mapped")


def test_name_that_is_not_filled_may_be_given():
    refuse_given(without_filled(lambda url: url), {"page": 1}, how="given")


def test_callable_without_a_signature_is_refused_with_what_to_do():
    with pytest.raises(KernelInputError, match="write a function that calls it"):
        without_filled(dict)
