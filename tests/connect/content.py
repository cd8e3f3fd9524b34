"""A program that runs as content of the emulated Connect, and what its visitors see of it."""

import subprocess
import time
from pathlib import Path

import requests
from connect import SECONDS

HERE = Path(__file__).resolve().parent


class Content:
    """R with one of the scripts here, once it answers. To be used in `with`."""

    def __init__(self, connect, script):
        self.connect, self.script = connect, script

    def __enter__(self):
        command = ["Rscript", "--vanilla", HERE / self.script]
        self.process = subprocess.Popen(command, env=self.connect.environment(), cwd=HERE)
        deadline = time.monotonic() + SECONDS
        while self.get("", "", check=False).status_code == 503:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"{self.script} did not start.")
            time.sleep(0.1)
        return self

    def get(self, visitor, path, check=True, **headers):
        """What a visitor gets through their front door."""
        reply = requests.get(self.connect.doors[visitor] + path, headers=headers, timeout=SECONDS)
        if check:
            reply.raise_for_status()
        return reply

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(SECONDS)
