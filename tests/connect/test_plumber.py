"""A real plumber API as content: each request is its visitor's.

    ENTRAR=.lib/entrar/bin/entrar R_LIBS=.lib python tests/connect/test_plumber.py
"""

import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from connect import NOBODY, Connect
from content import Content

FORGED = {"Posit-Connect-User-Session-Token": "canary-forged", "Posit_Connect_User_Session_Token": "canary-forged"}
NAMES = {f"visitor{number}@example.com": f"Visitor Number{number}" for number in range(10)}
VISITOR = next(iter(NAMES))
LIFETIME = 2


class Plumber(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        visitors = [option for address, name in NAMES.items() for option in ("--visitor", f"{name} <{address}>")]
        connect = cls.enterClassContext(Connect("--token-lifetime", str(LIFETIME), *visitors))
        cls.content = cls.enterClassContext(Content(connect, "api.R"))

    def get(self, visitor, path="me", **headers):
        """A reply that is not late: on a slow machine a token may expire on its way to Graph."""
        while True:
            reply = self.content.get(visitor, path, check=False, **headers)
            if reply.status_code != 503:
                return reply

    def name(self, visitor):
        # plumber puts each value into a list of one.
        return visitor, self.get(visitor).json()["displayName"][0]

    def assert_refused(self, reply, kind):
        self.assertEqual((reply.status_code, reply.json()), (403, {"error": [kind]}))

    def test_ten_visitors_at_once_for_longer_than_a_token_lives(self):
        end = time.monotonic() + LIFETIME + 1
        with ThreadPoolExecutor(len(NAMES)) as pool:
            while time.monotonic() < end:
                self.assertEqual(dict(pool.map(self.name, NAMES)), NAMES)

    def test_who_has_not_signed_in_gets_nobodys_token(self):
        self.name(VISITOR)
        self.assert_refused(self.get(NOBODY), "sign_in_required")
        self.assert_refused(self.get(NOBODY, **FORGED), "sign_in_required")

    def test_a_request_that_was_not_given_is_no_visitor(self):
        self.name(VISITOR)
        self.assert_refused(self.get(VISITOR, "nobody"), "no_session")

    def test_the_content_may_ask_for_itself(self):
        self.assertIn("measurements", self.get(NOBODY, "containers").text)


if __name__ == "__main__":
    unittest.main()
