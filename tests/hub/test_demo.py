"""`make hub-demo`'s script, as a user of this machine: what it says to open and to type works, and nothing is left behind.

Run as root, with what is to be tested in the environment, as test_hub.py is.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import requests
from users import PATH, SECONDS, Started, User

TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS / "sign-in"))

from test_browser import Browser  # noqa: E402

DEMO = TESTS.parent / "hub/demo.sh"


def free_ports():
    """The first of three that nobody listens at, most likely: no port of theirs is given to whoever asks for any."""
    for first in random.sample(range(20_000, 30_000, 3), 100):
        try:
            for port in range(first, first + 3):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no port is free")


class Demo(unittest.TestCase):
    def setUp(self):
        self.user = self.enterContext(User("demo"))
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="demo-")))
        # A clone of root's own may be of no use to anybody else.
        for file in (os.environ["ENTRAR"], os.environ["HUB"], DEMO):
            shutil.copy(file, self.place)
        shutil.copytree(Path(os.environ["LIBRARY"]) / "entrar", self.place / "library/entrar")
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", self.place], check=True, timeout=SECONDS)
        self.port = free_ports()
        # Where it writes to.
        self.scratch = Path(self.user.home) / "scratch"
        self.scratch.mkdir()
        os.chown(self.scratch, self.user.uid, -1)

    def command(self):
        return ["sh", *(self.place / name for name in ("demo.sh", "entrar", "entrar-hub", "library"))]

    def start(self):
        variables = {"HUB_DEMO_PORT": str(self.port), "TMPDIR": str(self.scratch)}
        return self.user.start(self.command(), variables)

    def typed(self, said, number):
        """What is typed for one of its steps, as it stands there."""
        step = said.split(f"\n{number}. ")[1].split("\n\n")[1]
        ran = self.user.run(["sh", "-e", "-c", step], {})
        return ran.stdout + ran.stderr

    def sign_in(self, said):
        address, user = re.search(r"Open (\S+) on this machine and sign in as (\S+);", said).groups()
        with Browser("hub-demo") as browser:
            went = browser.visit(
                name="demo", address=address, first="button.main", answer="sign_in", user=user, press=["button[value=yes]"]
            )
        self.assertEqual(went["console"], [])
        self.assertEqual(went["title"].partition(" – ")[0], "Your Azure sign-in")
        return user

    def test_a_newcomer_does_what_it_says(self):
        with self.start() as demo:
            said = demo.until("Ctrl-C ends it")
            self.assertIn("sign_in_required", self.typed(said, 2))
            user = self.sign_in(said)
            self.assertEqual(user, self.user.upn)
            in_r = self.typed(said, 2)
            self.assertRegex(in_r, f"username: +{user}")
            self.assertIn("https://graph.microsoft.com", in_r)
            administrator = self.typed(said, 3)
            self.assertRegex(administrator, rf"{self.user.name} .*{user}")
            self.assertRegex(administrator, r"token +.*https://graph.microsoft.com +ok")
            self.assertEqual(len(list(self.scratch.iterdir())), 1)
            # Ctrl-C reaches all that runs in the terminal.
            os.killpg(demo.process.pid, signal.SIGINT)
            said, code = demo.end()
            self.assertEqual(code, 0, said)
        self.assert_nothing_is_left()

    def assert_nothing_is_left(self):
        self.assertEqual(list(self.scratch.iterdir()), [])
        left = subprocess.run(["ps", "-o", "args=", "-u", str(self.user.uid)], capture_output=True, text=True, check=False)
        self.assertEqual(left.stdout, "")
        with self.assertRaises(requests.ConnectionError):
            requests.get(f"http://localhost:{self.port}", timeout=SECONDS)

    def test_it_ends_when_it_is_told_to(self):
        with self.start() as demo:
            demo.until("Ctrl-C ends it")
            demo.process.terminate()
            said, code = demo.end()
            self.assertEqual(code, 0, said)
        self.assert_nothing_is_left()

    def test_a_port_that_is_taken_is_named(self):
        with socket.create_server(("127.0.0.1", self.port)), self.start() as demo:
            said, code = demo.end()
        self.assertEqual(code, 1)
        self.assertIn(f"127.0.0.1:{self.port}: ", said)
        self.assertIn("HUB_DEMO_PORT", said)
        self.assertEqual(list(self.scratch.iterdir()), [])

    def test_root_is_told_to_be_somebody(self):
        ran = subprocess.run(self.command(), capture_output=True, text=True, timeout=SECONDS, check=False, env={"PATH": PATH})
        self.assertEqual((ran.returncode, ran.stdout), (1, ""))
        self.assertIn("Root gets no tokens of a hub", ran.stderr)
        self.assertIn("make hub-demo HUB_DEMO_USER=NAME", ran.stderr)

    def test_root_runs_it_for_somebody(self):
        variables = {"PATH": PATH, "HUB_DEMO_USER": self.user.name, "HUB_DEMO_PORT": str(self.port)}
        with Started(self.command(), env=variables) as demo:
            said = demo.until("Ctrl-C ends it")
            self.assertIn(f"sign in as {self.user.upn}", said)
            place = Path(re.search("ENTRAR_HUB_SOCKET=([^ ]*)/run/hub.sock", said).group(1))
            self.assertEqual(place.stat().st_uid, self.user.uid)
            os.killpg(demo.process.pid, signal.SIGINT)
            said, code = demo.end()
            self.assertEqual(code, 0, said)
        self.assertFalse(place.exists())
        self.assert_nothing_is_left()

    def test_root_is_told_what_somebody_cannot_read(self):
        os.chmod(self.place, 0o700)
        variables = {"PATH": PATH, "HUB_DEMO_USER": self.user.name, "HUB_DEMO_PORT": str(self.port)}
        ran = subprocess.run(self.command(), capture_output=True, text=True, timeout=SECONDS, check=False, env=variables)
        self.assertEqual(ran.returncode, 1)
        self.assertIn(f"{self.user.name} cannot read {self.place}", ran.stderr)


if __name__ == "__main__":
    unittest.main()
