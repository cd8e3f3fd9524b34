"""Other people's clients, unmodified, find an agent by what `entrar env` prints: posit-sdk, git and Git LFS.

Run with the `entrar` to test in the environment:

    ENTRAR=.lib/entrar/bin/entrar python tests/sign-in/test_clients.py
"""

import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import browser
import requests
from agent import SECONDS, Agent
from emulator import Emulator

TESTS = Path(__file__).resolve().parents[1]
POSIT_SDK = TESTS / "python/test_posit_sdk.py"
GIT = TESTS / "git/test_git.py"
# Longer than any of these tests takes on a busy machine.
LONGEST = 600


class Clients(unittest.TestCase):
    def setUp(self):
        program = os.environ["ENTRAR"]
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="clients-"))
        self.tenant = self.enterContext(Emulator(program))
        self.agent = self.enterContext(Agent(program, Path(directory) / "agent"))
        attempt = self.agent.begin(self.tenant.url, self.tenant.tenant_id, self.tenant.public_app)
        browser.sign_in(attempt["address"]).raise_for_status()
        self.assertEqual(self.agent.wait(attempt)["username"], "ada@example.com")

    def assert_pass(self, variables, file, *options):
        """Runs tests that know the session by these variables alone."""
        command = [sys.executable, "-B", file, *options]
        ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LONGEST, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertRegex(ran.stderr, r"(?m)^Ran [1-9][0-9]* tests?")

    def test_posit_sdk(self):
        variables = self.agent.session_variables()
        self.assertNotIn("RS_SESSION_RPC_COOKIE", variables)
        self.assertEqual(variables["ENTRAR_ORIGIN"], "agent")
        cookie = Path(variables["PWB_SESSION_RUNTIME_DIR"]) / "rpc_cookie"
        self.assertEqual(stat.S_IMODE(cookie.stat().st_mode), 0o600)
        self.assert_pass(variables, POSIT_SDK)

    def test_posit_sdk_with_the_cookie_in_the_environment(self):
        variables = self.agent.session_variables("--inline")
        del variables["PWB_SESSION_RUNTIME_DIR"]
        self.assert_pass(variables, POSIT_SDK)

    def test_git_and_git_lfs(self):
        variables = self.agent.session_variables("--git")
        cases = ["-k", "test_clone_fetch_and_push", "-k", "test_lfs_push_and_pull", "-k", "test_submodules"]
        self.assert_pass(variables | {"ENTRAR_DEMO_GRAPH": self.tenant.url}, GIT, *cases)

    def test_signed_out_they_get_nothing(self):
        variables = self.agent.session_variables()
        self.agent.ask("sign_out")
        self.assertEqual(self.agent.process.wait(SECONDS), 0)
        self.assertFalse(Path(variables["PWB_SESSION_RUNTIME_DIR"]).exists())
        with self.assertRaises(requests.ConnectionError):
            requests.get(variables["RS_SERVER_ADDRESS"], timeout=SECONDS)


if __name__ == "__main__":
    unittest.main()
