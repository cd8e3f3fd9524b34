"""A real Shiny app as content, and two visitors in real browsers: each sees their own name, whatever happens.

    ENTRAR=.lib/entrar/bin/entrar R_LIBS=.lib python tests/connect/test_shiny.py
"""

import unittest
from pathlib import Path

# Beside the sign-in, where `connect` leads.
from connect import ADA, BOB, NOBODY, Connect  # isort: skip
from chromium import Chromium
from content import Content

HERE = Path(__file__).resolve().parent
NAMES = {ADA: "Ada Example", BOB: "Bob Example"}
# Where a token is asked for, in the app.
WITH_VISITOR = ("at_once", "again", "promised", "named")
LONGEST_TASK = 120


class Browser(Chromium):
    """browser.mjs as a process. To be used in `with`."""

    def __init__(self):
        super().__init__(HERE / "browser.mjs", longest=LONGEST_TASK)

    def do(self, task, window, **more):
        done = self.run({"task": task, "window": window, **more})
        if "failure" in done:
            raise AssertionError(f"{task} {window} {more}: {done['failure']}")
        return done


class Shiny(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())

    def start(self, *options):
        # Tokens that expire while the app is looked at.
        connect = self.enterContext(Connect("--token-lifetime", "2", *options))
        self.content = self.enterContext(Content(connect, "app.R"))

    def open(self, window, visitor):
        address = self.content.connect.doors[visitor]
        self.browser.do("open", window, address=address)
        self.addCleanup(self.browser.do, "close", window)

    def rounds(self, window, number):
        """Waits until the app has asked so many times in this session."""
        self.browser.do("until", window, id="rounds", least=number)

    def assert_only(self, window, name):
        """In all that the window has shown there is this name and nobody else's."""
        texts = self.browser.do("seen", window)["texts"]
        for place in WITH_VISITOR:
            self.assertEqual(set(texts[place]) - {"too late"}, {name}, place)
        # A timer without a session is nobody's.
        self.assertEqual(texts["outside"], ["error: no_session"])

    def test_each_sees_their_own_name_whatever_happens(self):
        self.start()
        for visitor, name in NAMES.items():
            self.open(visitor, visitor)
        for visitor, name in NAMES.items():
            for place in WITH_VISITOR:
                self.browser.do("until", visitor, id=place, pattern=f"^{name}$")

        # Both at once, for longer than a token lives.
        for visitor in NAMES:
            self.rounds(visitor, 20)
        # Ada's connection breaks, and comes back as another session.
        before = self.browser.do("until", ADA, id="session", pattern=".")["text"]
        self.browser.do("drop", ADA)
        self.browser.do("until", ADA, id="session", pattern=f"^(?!{before}$).")
        self.rounds(ADA, 9)
        # A second window of Ada's, beside which the first one goes away.
        self.open("second", ADA)
        self.rounds("second", 9)
        for window, name in ((ADA, "Ada Example"), (BOB, "Bob Example"), ("second", "Ada Example")):
            self.assert_only(window, name)

    def test_one_who_leaves_takes_nothing_from_who_stays(self):
        self.start()
        self.browser.do("open", "leaves", address=self.content.connect.doors[BOB])
        self.open("stays", ADA)
        self.rounds("leaves", 2)
        self.browser.do("close", "leaves")
        self.open("comes", BOB)
        self.rounds("comes", 9)
        self.rounds("stays", 9)
        self.assert_only("stays", "Ada Example")
        self.assert_only("comes", "Bob Example")

    def test_who_has_not_signed_in_or_is_refused_gets_nobodys_token(self):
        self.start("--connect-fault", f"{BOB}=visitor_refused")
        for visitor in (ADA, BOB, NOBODY):
            self.open(f"as {visitor}", visitor)
        for visitor in (ADA, BOB, NOBODY):
            self.rounds(f"as {visitor}", 9)
        self.assert_only(f"as {ADA}", "Ada Example")
        for visitor in (BOB, NOBODY):
            texts = self.browser.do("seen", f"as {visitor}")["texts"]
            for place in WITH_VISITOR:
                self.assertRegex(" ".join(texts[place]), "^error: [a-z_]+$", place)


if __name__ == "__main__":
    unittest.main()
