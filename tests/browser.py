"""Debian's chromium without a window, spoken to over its DevTools protocol, for tests of pages."""

import asyncio
import base64
import contextlib
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
INSTALL = "no chromium here: apt-get install -y --no-install-recommends chromium"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --remote-debugging-port=0"
).split()
_START_SECONDS = 60


class Page:
    """One tab; `console` holds its errors and warnings, `requested` what it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self.console: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **parameters):
        """A command of the protocol and its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = await asyncio.wait_for(self._socket.receive_json(), 60)
            self._note(told)
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    def _note(self, told):
        match told.get("method"):
            case "Runtime.exceptionThrown":
                self.console.append(str(told["params"]["exceptionDetails"]["text"]))
            case "Runtime.consoleAPICalled" if told["params"]["type"] in ("error", "warning"):
                self.console.append(str(told["params"]["args"]))
            case "Log.entryAdded" if told["params"]["entry"]["level"] in ("error", "warning"):
                self.console.append(told["params"]["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])

    async def ask(self, expression: str):
        """The value of a JavaScript expression; promises are awaited."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def show(self, path: Path, width: int, *, dark: bool = False, paper: bool = False):
        """Open a file at a width in CSS pixels and wait for its images."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call(
            "Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme]
        )
        await self.call("Page.navigate", url=f"file://{path}")
        await self.ask(
            "(async () => { while (document.readyState !== 'complete' || "
            "!document.querySelector('main')) await new Promise(r => setTimeout(r, 20)); "
            "await Promise.all([...document.images].map(i => i.decode().catch(() => 0))); })()"
        )

    async def screenshot(self) -> bytes:
        """The whole page as PNG."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode((await self.call("Page.printToPDF", printBackground=True))["data"])


@contextlib.asynccontextmanager
async def opened():
    """A fresh tab of a browser of its own, which is stopped at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = await asyncio.create_subprocess_exec(*command, **quiet)
        try:
            port = await _port(Path(profile) / "DevToolsActivePort", browser)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    tabs = await answer.json()
                tab = next(one for one in tabs if one["type"] == "page")
                address = tab["webSocketDebuggerUrl"]
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            with contextlib.suppress(ProcessLookupError):
                browser.terminate()
            await asyncio.wait_for(browser.wait(), 20)


async def _port(file: Path, browser: asyncio.subprocess.Process) -> int:
    for _ in range(_START_SECONDS * 10):
        if lines := _read(file).split():
            return int(lines[0])
        assert browser.returncode is None, f"chromium ended with {browser.returncode}"
        await asyncio.sleep(0.1)
    raise AssertionError("chromium did not start")


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""
