"""`entrar demo --connect` as a process, with what it writes for its reader."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sign-in"))
from process import end  # noqa: E402

SECONDS = 60
ADA, BOB, NOBODY = "ada@example.com", "bob@example.com", ""


class Connect:
    """An emulated Connect and the tenant behind it. To be used in `with`."""

    def __init__(self, *options, program=None):
        self.directory = tempfile.TemporaryDirectory(prefix="connect-")
        self.file = Path(self.directory.name) / "variables"
        program = program or os.environ["ENTRAR"]
        self.command = [program, "demo", "--connect", "--environment", self.file, *options]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE)
        deadline = time.monotonic() + SECONDS
        while not self.file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise RuntimeError("The emulated Connect did not start.")
            time.sleep(0.01)
        lines = dict(line.split("=", 1) for line in self.file.read_text().splitlines())
        of = lambda kind: {name.split(" ", 1)[1]: value for name, value in lines.items() if name.startswith(kind)}
        self.visitors, self.doors = of("visitor "), of("door ")
        self.variables = {name: value for name, value in lines.items() if " " not in name}
        return self

    def environment(self):
        """What content finds in its environment: all that is here, but for what it must not see."""
        of_content = {name: value for name, value in self.variables.items() if value}
        kept = {name: value for name, value in os.environ.items() if name not in self.variables}
        return kept | of_content

    def __getitem__(self, name):
        return self.variables[name]

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            end(self.process)
        finally:
            self.directory.cleanup()
