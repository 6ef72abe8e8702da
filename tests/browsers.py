"""What tests need that open pages in the system's Chromium; a module that imports it is skipped where that is missing."""

import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"),
]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
