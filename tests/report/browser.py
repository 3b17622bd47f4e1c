"""Headless Chromium, controlled by its DevTools protocol over a pipe: no driver, no port, no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")


class Tab:
    """An open page. `complaints` are the errors and warnings it logs, `requests` the addresses it asks for."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._number, self._session = commands, answers, 0, None
        self._unread, self.complaints, self.requests = b"", [], []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def open(self, path):
        self.send("Page.navigate", url=Path(path).absolute().as_uri())
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def run(self, expression):
        """Return the value of a JavaScript expression, awaited."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]["exception"]["description"]
        return result["result"].get("value")

    def press(self, key):
        code = {"Escape": 27, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def resize(self, width, height, dark=False):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path, **options):
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot", **options)["data"]))

    def _receive(self):
        while b"\0" not in self._unread:
            assert select.select([self._answers], [], [], 60)[0], "the browser is silent"
            part = self._answers.read(65536)
            assert part, "the browser is gone"
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(text)
        match message.get("method"), message.get("params", {}):
            case "Runtime.exceptionThrown", parameters:
                self.complaints.append(parameters["exceptionDetails"]["exception"].get("description"))
            case "Log.entryAdded", parameters:
                self.complaints.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled", parameters if parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(parameters["args"]))
            case "Network.requestWillBeSent", parameters:
                self.requests.append(parameters["request"]["url"])
        return message


@contextmanager
def tab():
    """Give a Tab of a browser that starts here and ends with the block."""
    with ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        commands = stack.enter_context(os.fdopen(to_browser, "wb"))
        answers = stack.enter_context(os.fdopen(from_browser, "rb", buffering=0))
        # Chromium reads commands from descriptor 3 and answers on 4.
        shell = f'exec "$@" 3<&{from_us} 4>&{to_us}'
        arguments = ["bash", "-c", shell, "bash", CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(arguments, pass_fds=(from_us, to_us), stderr=subprocess.DEVNULL)
        os.close(from_us)
        os.close(to_us)
        try:
            yield Tab(commands, answers)
        finally:
            process.kill()
            process.wait()
