"""The pictures of TensorBoard and of the HTML report in docs/images, taken from a run in headless Chromium.

    python docs/make_screenshots.py runs/demo_grpo

Beside the installed package it needs a Chromium or Chrome on the path (Debian: apt-get install chromium-headless-shell)
and nothing else: pages are opened and clicked over the browser's own DevTools protocol. The browser and TensorBoard
listen on this machine only, and end with the script.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from websockets.sync.client import connect

from judges.network import free_port
from online_rl.commands.plot import plot

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
START_S = 60.0
SETTLE_S = 6.0  # TensorBoard draws its charts some seconds after the page has loaded

# TensorBoard's older tabs are custom elements, so a search has to look into their shadow trees.
EVERY_ELEMENT = """
function* every(root) {
  for (const e of root.querySelectorAll('*')) { yield e; if (e.shadowRoot) yield* every(e.shadowRoot); }
}
"""
TICK = """
for (const e of every(document)) {
  if (e.localName === 'paper-checkbox' && e.textContent.includes('LABEL')) e.click();
}
"""


FOLD = """
for (const e of every(document)) {
  if (e.localName === 'button' && e.classList.contains('heading') && /TITLES/.test(e.textContent)) e.click();
}
"""


def fold(titles: str) -> str:
    """JavaScript that closes TensorBoard's groups of charts whose titles match."""
    return EVERY_ELEMENT + FOLD.replace("TITLES", titles)


def tick(label: str) -> str:
    """JavaScript that clicks on TensorBoard's checkbox of that label."""
    return EVERY_ELEMENT + TICK.replace("LABEL", label)


PAGE_HEIGHT = "document.documentElement.scrollHeight"


class Page:
    """A tab of the browser."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one DevTools command and wait for its answer; events in between are passed over."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=START_S))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def picture(self, url: str, width: int, height: int, script: str = "", whole: bool = False) -> Image.Image:
        """What a window of `width` x `height` shows of `url`, after `script` has run there; `whole`: the whole page."""
        self._window(width, height)
        self.call("Page.navigate", url="about:blank")  # a change of the #fragment alone would not load anew
        self.call("Page.navigate", url=url)
        time.sleep(SETTLE_S)
        if script:
            self.call("Runtime.evaluate", expression=script)
            time.sleep(SETTLE_S / 2)
        if whole:
            height = self.call("Runtime.evaluate", expression=PAGE_HEIGHT)["result"]["value"]
            self._window(width, height)
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return Image.open(io.BytesIO(base64.b64decode(data)))

    def _window(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


@contextmanager
def running(command: list[str], folder: Path | None = None) -> Iterator[None]:
    """The command, and what it starts in turn (Debian's browsers are scripts), until the block ends."""
    process = subprocess.Popen(
        command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def when_up(url: str) -> bytes:
    """What `url` answers, once it does."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@contextmanager
def browser() -> Iterator[Page]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"error: none of {', '.join(BROWSERS)} is on the path; install a Chromium.")
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:  # the browser may still be closing
        flags = ["--headless", "--hide-scrollbars", "--no-sandbox", f"--user-data-dir={profile}"]
        with running([program, *flags, f"--remote-debugging-port={port}", "about:blank"]):
            tabs = json.loads(when_up(f"http://127.0.0.1:{port}/json/list"))
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            with connect(address, max_size=None) as socket:
                page = Page(socket)
                yield page
                page.call("Browser.close")
                time.sleep(2)  # it writes its profile once more, which is removed behind it


@contextmanager
def tensorboard(run: Path) -> Iterator[str]:
    """Its address. Started in the folder above the runs, so that no path of this machine is on the pictures."""
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", run.parent.name, "--port", str(port)]
    with running(command, run.parent.parent):
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_S
        while when_up(f"{address}/data/runs").strip() == b"[]" and time.monotonic() < deadline:
            time.sleep(1)
        yield address


def save(picture: Image.Image, path: Path) -> None:
    """As a palette PNG, a third of the size. Maximum coverage keeps the few coloured words beside the grey X-rays."""
    palette = picture.convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(path, optimize=True)
    print(f"{path}  {picture.width} x {picture.height}  {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, alone in its parent folder")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images")
    arguments = parser.parse_args()
    run, output = arguments.run.resolve(), arguments.output
    output.mkdir(parents=True, exist_ok=True)
    [report] = [path for path in plot([run], html=True) if path.suffix == ".html"]
    with browser() as page:
        with tensorboard(run) as address:
            pages = page.picture(f"{address}/#custom_scalars", 1560, 1785, tick("Ignore outliers"))
            samples = page.picture(
                f"{address}/#images&tagFilter=best_of_step|worst_of_step", 1480, 1255, tick("actual image size")
            )
            policy = page.picture(f"{address}/#custom_scalars", 1560, 2480, fold("Reward and length|Judge"))
        save(pages, output / "tensorboard.png")
        save(policy, output / "tensorboard_policy.png")
        save(samples, output / "tensorboard_samples.png")
        save(page.picture(report.as_uri(), 1240, 900, whole=True), output / "report.png")
    for name in ("curves", "before_after"):
        save(Image.open(run / "plots" / f"{name}.png"), output / f"{name}.png")


if __name__ == "__main__":
    main()
