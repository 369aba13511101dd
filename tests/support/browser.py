"""Debian's Chromium without a window, driven by its own protocol (https://chromedevtools.github.io/devtools-protocol/)
over two pipes: no port, and no library."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.parts import missing

_DEADLINE = 60.0  # seconds
_PROGRAMS = ("chromium-headless-shell", "chromium")


class Browser:
    """One page of a browser that runs."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing, self._number, self._rest = reading, writing, 0, b""
        self.requests: list[str] = []  # every address that was asked for
        self.complaints: list[str] = []  # what the page's console has: scripts that failed, what the policy forbids
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and what it returns."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session and not method.startswith("Browser."):
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self.call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + _DEADLINE
        while self.tell("location.href + document.readyState") != f"{page.as_uri()}complete":
            assert time.monotonic() < deadline, "the page is not loaded"
            time.sleep(0.05)

    def tell(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page, as of a user's gesture."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key where the focus is."""
        typed = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        text = {"text": typed} if typed else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def tab(self, most: int) -> list[int]:
        """Press Tab from the start of the page until the focus is where it was: the places that it came to, in
        their order, as numbers of what can have the focus in the order of the document; -1 is anything else."""
        self.tell(
            "getSelection().removeAllRanges(); document.body.tabIndex = -1; document.body.focus();"
            "document.body.removeAttribute('tabindex');"
            "globalThis.stops = [...document.querySelectorAll('a[href], button, input, summary')]"
            ".filter(one => one.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true}))"
        )
        places: list[int] = []
        for _ in range(most):
            self.press("Tab", 9)
            place = self.tell("document.activeElement === document.body ? -2 : stops.indexOf(document.activeElement)")
            if place in (-2, *places[:1]):
                break
            places.append(place)
        return places

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._reading], [], [], _DEADLINE)[0], "the browser says nothing"
            got = os.read(self._reading, 1 << 16)
            assert got, "the browser has ended"
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(line)
        if said.get("method") == "Network.requestWillBeSent":
            self.requests.append(said["params"]["request"]["url"])
        if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(said["params"]))
        return said


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that keeps what it has to keep in `profile`; it has ended at the end."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        missing("there is no chromium-headless-shell on this host")
    (low, ours), (back, low_too) = os.pipe(), os.pipe()
    # Its protocol has the descriptors 3 and 4; a shell can put them there, from where neither is in its way
    there, theirs = (fcntl.fcntl(item, fcntl.F_DUPFD, 10) for item in (low, low_too))
    os.close(low)
    os.close(low_too)
    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]
    with subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{there} 4>&{theirs}', "bash", *command],
        pass_fds=(there, theirs), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    ) as process:  # fmt: skip
        os.close(there)
        os.close(theirs)
        try:
            yield Browser(back, ours)
        finally:
            process.kill()
            os.close(ours)
            os.close(back)
