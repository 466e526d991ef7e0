"""Look at a page as a user would, and keep the picture.

    python infra/browser/screenshot.py http://127.0.0.1:5000/#/experiments runs.png --wait digits --click "Run Name"

Steps (--wait TEXT, --click TEXT) happen in the order given; the picture is taken once the page has come to rest.
Debian package: chromium. It is driven over a pipe, so that no port is open and no further package is needed; it can
reach this machine only.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = [
    "--headless",
    "--no-sandbox",  # it may run as root in a container, and sees only pages of this machine
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--remote-debugging-pipe",  # commands come on file 3, answers go to file 4
]

# The innermost visible element whose text, label or title is the wanted one; where to click it.
FIND = """(wanted => {
    const words = e => [e.innerText, e.getAttribute('aria-label'), e.title, e.placeholder];
    const says = e => words(e).some(text => text && text.trim() === wanted);
    const found = [...document.querySelectorAll('body *')].filter(e => says(e) && e.getClientRects().length).pop();
    if (!found) return null;
    found.scrollIntoView({block: 'center'});
    const box = found.getBoundingClientRect();
    return {x: box.x + box.width / 2, y: box.y + box.height / 2};
})"""

# Resolves when nothing on the page has changed for half a second, or after five: some pages never rest.
AT_REST = """new Promise(resolve => {
    let quiet = setTimeout(resolve, 500);
    setTimeout(resolve, 5000);
    new MutationObserver(() => { clearTimeout(quiet); quiet = setTimeout(resolve, 500); })
        .observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
})"""


class BrowserError(RuntimeError):
    """The browser, or the page in it, did not do what was asked."""


class Browser:
    """One page of a headless Chromium with a fresh profile; a context manager that leaves nothing behind."""

    def __init__(self, width: int = 1400, height: int = 900, patience: float = 30) -> None:
        self.size, self.patience = (width, height), patience
        self.complaints: list[str] = []
        """Errors in the page's console, and what it could not load."""
        self.requests: list[str] = []
        """Addresses that pages asked for."""

    def __enter__(self) -> Self:
        program = shutil.which("chromium")
        if program is None:
            raise BrowserError("chromium not found (Debian package: chromium)")
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()

        def as_three_and_four() -> None:
            # By way of free numbers above: a pipe that happens to be 3 or 4 already would be overwritten.
            free = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 5) for pipe in (commands, answers)]
            os.dup2(free[0], 3)
            os.dup2(free[1], 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=as_three_and_four,
            pass_fds=(3, 4),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._numbers = itertools.count(1)
        self._session = ""
        try:
            target = self._send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._send(f"{domain}.enable")
            self.resize(*self.size)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(BrowserError, OSError):
            self._session = ""
            self._send("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what is left of the helpers that it started
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        self._profile.cleanup()

    def resize(self, width: int, height: int) -> None:
        """The window, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **size)

    def remember(self, **values: str) -> None:
        """Fill the page's local storage before the page looks: what a user chose on an earlier visit."""
        for key, value in values.items():
            source = f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})"
            self._send("Page.addScriptToEvaluateOnNewDocument", source=source)

    def dark(self) -> None:
        """As for a user who prefers dark pages."""
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def open(self, url: str) -> None:
        if problem := self._send("Page.navigate", url=url).get("errorText"):
            raise BrowserError(f"{url}: {problem}")
        self.rest()

    def wait(self, text: str) -> None:
        """Until the text stands on the page."""
        self.until(f"document.body?.innerText.includes({json.dumps(text)})", f"'{text}' did not appear")

    def click(self, text: str) -> None:
        """Press the element that says this, in its text, its label or its title."""
        place = self.until(f"{FIND}({json.dumps(text)})", f"nothing to click says '{text}'")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        self.rest()

    def rest(self) -> None:
        self.evaluate(AT_REST)

    def text(self) -> str:
        """All that can be read on the page."""
        return str(self.evaluate("document.body.innerText"))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are awaited."""
        answer = self._send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{answer['exceptionDetails']} in: {expression}")
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        self.rest()
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", format="png")["data"]))

    def until(self, expression: str, otherwise: str) -> Any:
        """The value of a JavaScript expression, once it counts as true. Raises BrowserError, with ``otherwise``, where
        it never does.
        """
        deadline = time.monotonic() + self.patience
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise BrowserError(f"{otherwise} within {self.patience:g} s. The page says:\n{self.text()}")
            time.sleep(0.1)
        return value

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self._hear(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _hear(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] == "error":
                self.complaints.append(str(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], self.patience)[0]:
                raise BrowserError(f"the browser said nothing for {self.patience:g} s")
            if not (part := os.read(self._answers, 1 << 16)):
                raise BrowserError("the browser ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


def _step(action: Callable[[Browser, str], None], text: str) -> Callable[[Browser], None]:
    return lambda browser: action(browser, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("png", type=Path)
    for name, step in (("--wait", Browser.wait), ("--click", Browser.click)):
        kind = partial(_step, step)
        parser.add_argument(name, metavar="TEXT", dest="steps", action="append", default=[], type=kind)
    parser.add_argument("--remember", metavar="KEY=VALUE", action="append", default=[], help="in local storage")
    parser.add_argument("--size", metavar="WxH", default="1400x900")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for what should come")
    parser.add_argument("--dark", action="store_true", help="as for a user who prefers dark pages")
    arguments = parser.parse_args()
    width, height = (int(number) for number in arguments.size.split("x"))
    try:
        with Browser(width, height, arguments.patience) as browser:
            if arguments.dark:
                browser.dark()
            browser.remember(**dict(pair.split("=", 1) for pair in arguments.remember))
            browser.open(arguments.url)
            for step in arguments.steps:
                step(browser)
            browser.screenshot(arguments.png)
            print(*browser.complaints, sep="\n", end="", file=sys.stderr)
    except BrowserError as error:
        sys.exit(f"browser: {error}")


if __name__ == "__main__":
    main()
