"""A terminal, in which a person types what a program asks for."""

import os
import re
import select
import signal
import subprocess
import time

from users import SECONDS


class Terminal:
    """To be used in `with`. The program has no other standard streams than the terminal."""

    def __init__(self, command, **options):
        self.own, theirs = os.openpty()
        # Nothing of what is typed is shown twice, and lines end as they do in a file.
        subprocess.run(["stty", "-echo", "-onlcr"], stdin=theirs, check=True, timeout=SECONDS)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, **options
        )
        os.close(theirs)
        self.shown = ""

    def __enter__(self):
        return self

    def type(self, line):
        os.write(self.own, f"{line}\n".encode())

    def until(self, pattern):
        """Waits until this is shown that was not looked at before; its match."""
        deadline = time.monotonic() + SECONDS
        while True:
            if found := re.search(pattern, self.shown):
                self.shown = self.shown[found.end() :]
                return found
            ready, _, _ = select.select([self.own], [], [], max(deadline - time.monotonic(), 0))
            try:
                more = os.read(self.own, 4096) if ready else b""
            except OSError:
                # The program has ended.
                more = b""
            if not more:
                raise AssertionError(f"{pattern!r} is not shown: {self.shown}")
            self.shown += more.decode(errors="replace")

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
        os.close(self.own)
