"""A headless Chromium driven over its debugging pipe: true console levels, every request, pictures when asked for."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--proxy-server=127.0.0.1:9",
    "--remote-debugging-pipe",
)

SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


class Page:
    """One page of a running browser; remembers errors on the console and requests that left the page."""

    def __init__(self, commands: int, answers: int, seconds: float) -> None:
        self.commands, self.answers, self.deadline = commands, answers, time.monotonic() + seconds
        self.buffer, self.count, self.session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str, size: tuple[int, int] = (800, 700)) -> None:
        """Load a page and wait until it is complete."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )
        self.call("Page.navigate", url=url)
        while not self.loaded:
            self._next()

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, once it is settled where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Save what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            if not select.select([self.answers], [], [], max(0.0, self.deadline - time.monotonic()))[0]:
                raise TimeoutError(
                    f"the browser did not answer in time (load of the machine: {os.getloadavg()[0]:.1f})"
                )
            piece = os.read(self.answers, 1 << 20)
            if not piece:
                raise RuntimeError("the browser closed its pipe")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in {"error", "assert"}:
            self.errors.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(event["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])


@contextlib.contextmanager
def browser(profile: Path, *flags: str, seconds: float = 240) -> Iterator[Page]:
    """Start a browser, give its page, and end it with all its processes."""
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    # The browser reads commands from descriptor 3 and answers on 4; high copies keep dup2 from overwriting one.
    high = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (commands_out, answers_in)]

    def descriptors() -> None:
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    process = subprocess.Popen(
        [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={profile}"],
        preexec_fn=descriptors,
        pass_fds=(3, 4),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (commands_out, answers_in, *high):
        os.close(end)
    try:
        yield Page(commands_in, answers_out, seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(commands_in)
        os.close(answers_out)
