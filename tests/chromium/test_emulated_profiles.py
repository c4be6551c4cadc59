"""What an emulated browser keeps in its profile."""

import pytest
from playwright.sync_api import sync_playwright
from support.emulated_browser import EmulatedBrowser

LOG_IN = "document.cookie = 'kept=1; max-age=9999'; document.cookie = 'session=2'; localStorage.seen = 'yes'"


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def visit(playwright, kernel_emulator):
    """Use a browser with a profile for one script, and end it; return what a site knows of it before."""

    def visit(script="0", **profile):
        with EmulatedBrowser(kernel_emulator, profile=profile) as browser:
            connection = playwright.chromium.connect_over_cdp(browser.cdp_url)
            (page,) = connection.contexts[0].pages
            page.goto(f"{kernel_emulator.base_url}/apps")  # any page that can have cookies
            found = page.evaluate("[document.cookie.split('; ').filter(each => each).sort(), localStorage.seen]")
            page.evaluate(script)
            browser.delete()
        return found

    return visit


def test_profile_keeps_cookies_and_local_storage(visit):
    assert visit(LOG_IN, name="shop", save_changes=True) == [[], None]
    assert visit(name="shop") == [["kept=1", "session=2"], "yes"]


def test_profile_keeps_nothing_that_is_not_saved(visit):
    visit(LOG_IN, name="shop")
    assert visit(name="shop") == [[], None]


def test_profiles_are_apart(visit):
    visit(LOG_IN, name="shop", save_changes=True)
    assert visit(name="other") == [[], None]


def test_last_end_decides_what_a_profile_holds(visit):
    visit(LOG_IN, name="shop", save_changes=True)
    visit("document.cookie = 'kept=; max-age=0'; localStorage.clear()", name="shop", save_changes=True)
    assert visit(name="shop") == [["session=2"], None]
