"""A real plumber API as content: each request is its visitor's.

    ENTRAR=.lib/entrar/bin/entrar R_LIBS=.lib python tests/connect/test_plumber.py
"""

import unittest
from concurrent.futures import ThreadPoolExecutor

from connect import ADA, BOB, NOBODY, Connect
from content import Content

FORGED = {"Posit-Connect-User-Session-Token": "canary-forged", "Posit_Connect_User_Session_Token": "canary-forged"}


class Plumber(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        connect = cls.enterClassContext(Connect())
        cls.content = cls.enterClassContext(Content(connect, "api.R"))

    def get(self, visitor, path="me", **headers):
        return self.content.get(visitor, path, check=False, **headers)

    def name(self, visitor):
        return self.get(visitor).json()["displayName"]

    def test_each_request_is_its_visitors(self):
        visitors = [ADA, BOB] * 10
        with ThreadPoolExecutor(10) as pool:
            names = list(pool.map(self.name, visitors))
        # plumber puts each value into a list of one.
        self.assertEqual(names, [["Ada Example"], ["Bob Example"]] * 10)

    def test_who_has_not_signed_in_gets_nobodys_token(self):
        self.name(ADA)
        for headers in ({}, FORGED):
            reply = self.get(NOBODY, **headers)
            self.assertEqual((reply.status_code, reply.json()), (403, {"error": ["no_session"]}))

    def test_a_request_that_was_not_given_is_no_visitor(self):
        self.name(ADA)
        reply = self.get(ADA, "nobody")
        self.assertEqual((reply.status_code, reply.json()), (403, {"error": ["no_session"]}))

    def test_the_content_may_ask_for_itself(self):
        self.assertIn("measurements", self.get(NOBODY, "containers").text)


if __name__ == "__main__":
    unittest.main()
