"""Chromium without a window, told what to do by its DevTools protocol, through a pipe: no client library is needed.

It knows no name and no address but this machine's own, so that a page that loads anything from elsewhere fails.
"""

import base64
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""

_AWAIT = """
new Promise((resolve) => {
  const look = () => {
    const found = (() => { return %s })();
    if (found) resolve(found); else setTimeout(look, 50);
  };
  look();
})
"""


class BrowserError(Exception):
    """Chromium refused a command, or what the page was told to do threw."""


@dataclass
class Page:
    """One tab."""

    to_browser: BinaryIO
    from_browser: BinaryIO
    session: str = ""
    requested: list[str] = field(default_factory=list)
    """The addresses that the page has asked for."""
    logged: list[str] = field(default_factory=list)
    """What it, or the browser about it, has said on the console."""
    _last: int = 0

    def open(self, url: str) -> None:
        """Go to an address, and wait for what it loads."""
        self.send("Page.navigate", url=url)
        self.wait("window.location.protocol === 'http:' && document.readyState === 'complete'")

    def run(self, code: str) -> Any:
        """Return what an expression, or the promise that it is, comes to."""
        answer = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, code: str) -> Any:
        """Return what an expression comes to, once that is anything."""
        return self.run(_AWAIT % code)

    def click(self, selector: str) -> None:
        """Click on what a selector finds, once it is there."""
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector: str) -> str:
        """Return the text of what a selector finds, once there is any."""
        found: str = self.wait(f"document.querySelector({json.dumps(selector)})?.textContent")
        return found

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.send("Input.insertText", text=text)

    def save_picture(self, path: Path) -> None:
        """Save what the page looks like."""
        picture = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(picture["data"]))

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its answer; what happens meanwhile is noted."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        self.to_browser.write(json.dumps(command).encode() + b"\0")
        self.to_browser.flush()
        while (message := self._receive()).get("id") != self._last:
            self._note(message)
        if "error" in message:
            raise BrowserError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self.from_browser.read(1)) != b"\0":
            if not byte:
                raise BrowserError("the browser is gone")
            parts += byte
        message: dict[str, Any] = json.loads(parts)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.logged.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif message.get("method") == "Runtime.consoleAPICalled":
            self.logged.append(f"{params['type']}: {[each.get('value') for each in params['args']]}")
        elif message.get("method") == "Runtime.exceptionThrown":
            self.logged.append(f"exception: {params['exceptionDetails']['text']}")


@contextmanager
def opened(profile: Path) -> Iterator[Page]:
    """Start Chromium and give an empty tab of 1280 x 1600; `profile` is an empty folder for what it writes."""
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        raise FileNotFoundError("Chromium is not installed: run `make test-pages`, or apt-get install chromium")
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    # Files 3 and 4 are the pipe. /dev/null is 0, so that none of the four is overwritten before it was moved.
    moves = [(os.POSIX_SPAWN_DUP2, os.dup(commands), 3), (os.POSIX_SPAWN_DUP2, os.dup(answers), 4)]
    child = os.posix_spawn(
        program,
        [
            program,
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",  # containers give it none; the only page it sees is ours
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--window-size=1280,1600",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        {**os.environ, "HOME": str(profile)},
        file_actions=[*moves, (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
        setpgroup=0,
    )
    os.close(commands)
    os.close(answers)
    try:
        with open(to_browser, "wb") as to, open(from_browser, "rb") as back:  # noqa: PTH123  # they are pipes
            page = Page(to, back)
            target = page.send("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                page.send(f"{domain}.enable")
            page.send("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
            yield page
    finally:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
