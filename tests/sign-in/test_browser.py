"""A real browser, Chromium, signs in at the emulated tenant through the agent. Its pages are kept in .build/pages.

Run with the `entrar` to test in the environment:

    ENTRAR=.lib/entrar/bin/entrar python tests/sign-in/test_browser.py
"""

import os
import shutil
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote, urlsplit

from agent import SECONDS, Agent, Refused
from chromium import Chromium
from emulator import Emulator

HERE = Path(__file__).resolve().parent
PAGES = HERE.parents[1] / ".build/pages"
# A visit takes a few seconds.
LONGEST_VISIT = 180


class Browser(Chromium):
    """browser.mjs as a process, whose pages are kept in a directory of this name. To be used in `with`."""

    def __init__(self, name="sign-in"):
        self.pages = PAGES / name
        super().__init__(HERE / "browser.mjs", self.pages, longest=LONGEST_VISIT)

    def __enter__(self):
        shutil.rmtree(self.pages, ignore_errors=True)
        self.pages.mkdir(parents=True)
        return super().__enter__()

    def visit(self, **visit):
        went = self.run(visit)
        if "failure" in went:
            raise AssertionError(went["failure"])
        return went

    def __exit__(self, *error):
        super().__exit__(*error)
        shutil.rmtree(self.pages / "profiles", ignore_errors=True)


def setUpModule():
    global BROWSER, TENANT
    BROWSER = unittest.enterModuleContext(Browser())
    TENANT = unittest.enterModuleContext(Emulator(os.environ["ENTRAR"]))


class Case(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="browser-"))
        self.agent = self.enterContext(Agent(os.environ["ENTRAR"], Path(directory) / "agent"))

    def begin(self, tenant=None):
        tenant = tenant or TENANT
        return self.agent.begin(tenant.url, tenant.tenant_id, tenant.public_app)

    def visit(self, name, attempt, status=200, **visit):
        """A visit that loads nothing from elsewhere, shows no error in the console, and leaves no code in an address."""
        went = BROWSER.visit(name=name, address=attempt["address"], **visit)
        # Chromium writes a line for each page with another status than 200.
        self.assertEqual([line for line in went["console"] if f"status of {status} " not in line], [], name)
        self.assertEqual(went["status"], status)
        self.assertLessEqual(set(went["hosts"]), {"localhost", "127.0.0.1"})
        self.assertEqual(went["overflow"], 0)
        for address in went["history"]:
            self.assertNotIn("code=", address)
        return went

    def assert_is_done(self, went, attempt):
        port = urlsplit(attempt["address"]).port
        self.assertEqual(went["url"], f"http://localhost:{port}/done")

    def failure(self, attempt):
        with self.assertRaises(Refused) as raised:
            self.agent.wait(attempt)
        return raised.exception

    def test_sign_in(self):
        for name, window in (("light", {}), ("dark", {"dark": True}), ("narrow", {"width": 360})):
            with self.subTest(name):
                attempt = self.begin()
                went = self.visit(f"sign-in-{name}", attempt, answer="sign_in", **window)
                self.assert_is_done(went, attempt)
                self.assertIn("ada@example.com", went["text"])
                self.assertEqual(self.agent.wait(attempt)["username"], "ada@example.com")
                self.assertTrue(self.agent.token("https://graph.microsoft.com")["result"])

    def test_deny(self):
        for name, window in (("light", {}), ("dark", {"dark": True}), ("narrow", {"width": 360})):
            with self.subTest(name):
                attempt = self.begin()
                went = self.visit(f"deny-{name}", attempt, answer="deny", **window)
                self.assert_is_done(went, attempt)
                self.assertEqual(went["title"], "You are not signed in")
                self.assertIn("the sign-in was declined", went["text"])
                self.assertIn("the sign-in was declined", self.failure(attempt).message)

    def test_the_tenant_refuses(self):
        for error, kind in (("53003", "access_denied"), ("65001", "consent_required")):
            with self.subTest(error):
                attempt = self.begin()
                went = self.visit(f"error-{error}", attempt, answer="fail", error=error)
                self.assert_is_done(went, attempt)
                self.assertEqual(went["title"], "You are not signed in")
                self.assertIn(f"AADSTS{error}", went["text"])
                self.assertEqual(self.failure(attempt).kind, kind)

    def test_a_wrong_state_ends_nothing(self):
        with Emulator(os.environ["ENTRAR"], "--fault", "authorize:wrong_state") as tenant:
            attempt = self.begin(tenant)
            went = self.visit("wrong-state", attempt, status=400, answer="sign_in")
            self.assertEqual(went["title"], "This is another sign-in")
            self.assertEqual(went["url"], attempt["address"].split("/start/")[0] + "/other")
            self.assertEqual(self.agent.ask("wait", id=attempt["id"], seconds=0), {"state": "waiting"})

    def test_the_start_address_serves_once(self):
        attempt = self.begin()
        went = self.visit("opened-twice", attempt, status=410, then=attempt["address"])
        self.assertEqual(went["title"], "This sign-in has begun elsewhere")

    def test_what_an_answer_says_is_text(self):
        hostile = "<script>alert(1)</script><img src=x onerror=alert(2)><style>body{display:none}</style>"
        attempt = self.begin()
        port = urlsplit(attempt["address"]).port
        then = f"http://localhost:{port}/?error=access_denied&state=STATE&error_description={quote(hostile)}"
        went = self.visit("hostile", attempt, then=then)
        self.assert_is_done(went, attempt)
        self.assertIn(hostile, went["text"])
        self.assertEqual(went["title"], "You are not signed in")


if __name__ == "__main__":
    unittest.main()
