"""Debian's chromium, in which pages are tested."""

import shutil
from contextlib import contextmanager

from examples import missing

OPTIONS = {"viewport": {"width": 1440, "height": 900}}


@contextmanager
def chromium():
    """A browser that tests share.

    Skips where chromium is not installed; see :func:`examples.missing`.
    """
    found = shutil.which("chromium")
    if found is None:
        missing("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@contextmanager
def opened(browser, address, **options):
    """A page of a file; what it complains of in the console, or asks of the network, fails the test."""
    context = browser.new_context(**(OPTIONS | options))
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else complaints.append(asked.url),
    )
    page.goto(address)
    yield page
    assert not complaints
    context.close()
