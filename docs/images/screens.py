"""Make the pictures of a report, of the board and of the server's page in this folder.

`python docs/images/screens.py` makes the first two in about ten minutes on two cores. The networks and the photos of the server's page are given:
`python docs/images/screens.py serve NETWORK NETWORK PHOTO...`; the first photo is shown large. The networks are files of `podium export --heatmap`.

It trains the networks that the pictures show, and needs the extra `serve`, playwright and the system's Chromium. The report is that of
`make demo`; the board follows a comparison that has two networks behind it and trains the third.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
PODIUM = [sys.executable, "-m", "podium"]
NETWORKS = ("lenet5_modern", "resnet20", "plain20", "alexnet", "vgg11_bn")
LIVE = ["compare", "digits", "-m", ",".join(NETWORKS), "--epochs", "12"]
PATIENCE = 3600.0  # seconds


@contextmanager
def page_of(address: str, width: int, height: int) -> Iterator[Page]:
    """A page in Chromium, of this size in pixels."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise SystemExit("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program) as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)  # milliseconds: the first ranking of a busy machine takes a while
        page.goto(address)
        yield page


def save(page: Page, name: str) -> None:
    """Keep what a page shows, in a palette of 256 colours."""
    page.wait_for_timeout(1000)  # charts are drawn by scripts
    path = HERE / name
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def report(folder: Path) -> None:
    """The report of the comparison that `make demo` runs."""
    subprocess.run([*PODIUM, "compare", "digits", "--epochs", "6", "-o", folder], check=True)
    with page_of((folder / "report.html").absolute().as_uri(), 1220, 1900) as page:
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        save(page, "report.png")


def board(folder: Path) -> None:
    """The board over a comparison while it trains, with the buttons that a token gives."""
    environment = {**os.environ, "PODIUM_TOKEN": "a-token-for-this-picture"}
    training = subprocess.Popen([*PODIUM, *LIVE, "-o", folder / "digits"])
    words = [*PODIUM, "board", folder, "--port", "0", "--json"]
    served = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        address = json.loads(served.stdout.readline() if served.stdout is not None else "")["url"]
        until = time.monotonic() + PATIENCE
        while len(list((folder / "digits").glob("*/result.json"))) < 2 or _epochs(folder / "digits") < 6:
            if training.poll() is not None or time.monotonic() > until:
                raise SystemExit("the comparison was over before its picture was taken")
            time.sleep(1)
        with page_of(address, 1280, 1290) as page:
            page.get_by_role("textbox").fill(environment["PODIUM_TOKEN"])
            page.keyboard.press("Enter")
            page.get_by_role("heading", name="Leaderboard").wait_for()
            save(page, "board.png")
    finally:
        for process in (training, served):
            process.send_signal(signal.SIGTERM)
            process.wait()


def serve(networks: list[str], photos: list[str]) -> None:
    """The page of `podium serve` with two networks side by side, and on a phone at night."""
    served = subprocess.Popen([*PODIUM, "serve", *networks, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        address = json.loads(served.stdout.readline() if served.stdout is not None else "")["url"]
        for name, width, height, scheme in (("serve.png", 1220, 1150, "light"), ("serve-phone.png", 400, 800, "dark")):
            with page_of(address, width, height) as page:
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                page.locator("#pick:enabled").wait_for()
                if scheme == "light":
                    page.locator("#second").select_option(index=2)  # behind "no other" and the first network
                page.locator("#files").set_input_files(photos)
                page.locator("#gallery li").nth(len(photos) - 1).wait_for()
                page.locator("#gallery li").first.click()
                page.locator("#frame .over").wait_for()  # the heat map
                page.evaluate("scrollTo(0, innerWidth < 500 ? document.getElementById('result').offsetTop - 8 : 0)")
                save(page, name)
    finally:
        served.send_signal(signal.SIGTERM)
        served.communicate()


def _epochs(folder: Path) -> int:
    """The epochs of the run that trains."""
    logs = [log for log in folder.glob("*/log.jsonl") if not (log.parent / "result.json").exists()]
    return max((log.read_text(encoding="utf-8").count('"event": "epoch"') for log in logs), default=0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        wanted = sys.argv[1:] or ["report", "board"]
        if "serve" in wanted:
            serve(wanted[1:3], wanted[3:])
        if "report" in wanted:
            report(Path(temporary) / "demo")
        if "board" in wanted:
            (Path(temporary) / "runs").mkdir()
            board(Path(temporary) / "runs")
