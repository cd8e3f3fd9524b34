"""posit-sdk, unmodified, exchanges session tokens at the emulated Connect.

    ENTRAR=.lib/entrar/bin/entrar python tests/connect/test_posit_sdk.py
"""

import os
import unittest
from unittest import mock

import requests
from connect import ADA, BOB, Connect
from posit.connect import Client
from posit.connect.errors import ClientError

ONE_OF_EACH = ("--integration", "graph", "--integration", "storage", "--integration", "content:storage")


class Case(unittest.TestCase):
    def start(self, *options):
        """A Connect, and posit-sdk as its content has it."""
        connect = self.enterContext(Connect("--connect-fault", "connect_errors", *options))
        self.enterContext(mock.patch.dict(os.environ, connect.environment(), clear=True))
        client = Client()
        self.addCleanup(client.session.close)
        return connect, client

    def get(self, address, token):
        reply = requests.get(address, headers={"Authorization": f"Bearer {token['access_token']}"}, timeout=60)
        reply.raise_for_status()
        return reply

    def name(self, connect, token):
        return self.get(connect["ENTRAR_DEMO_GRAPH"] + "/v1.0/me", token).json()["displayName"]

    def integration(self, client, **wanted):
        content = client.content.get(os.environ["CONNECT_CONTENT_GUID"])
        return content.oauth.associations.find_by(**wanted)["oauth_integration_guid"]

    def refused(self, ask, *arguments, **named):
        with self.assertRaises(ClientError) as raised:
            ask(*arguments, **named)
        return raised.exception

    def test_each_visitor_has_a_token_of_their_own(self):
        connect, client = self.start("--integration", "graph", "--connect-path", "/connect")
        self.assertEqual(client.version, "2025.09.0")
        for visitor, name in ((ADA, "Ada Example"), (BOB, "Bob Example")):
            token = client.oauth.get_credentials(connect.visitors[visitor])
            self.assertEqual(token["token_type"], "Bearer")
            self.assertNotIn("expires_in", token)
            self.assertEqual(self.name(connect, token), name)

    def test_one_of_several_integrations(self):
        connect, client = self.start(*ONE_OF_EACH)
        ada = connect.visitors[ADA]
        error = self.refused(client.oauth.get_credentials, ada)
        self.assertIn("Several OAuth integrations", error.error_message)
        graph = self.integration(client, integration_type="msgraph", auth_type="Viewer")
        token = client.oauth.get_credentials(ada, audience=graph)
        self.assertEqual(self.name(connect, token), "Ada Example")
        settings = client.oauth.integrations.get(graph)
        self.assertIn("https://graph.microsoft.com/.default", settings["config"]["scopes"])

    def test_the_content_has_a_token_of_its_own(self):
        connect, client = self.start(*ONE_OF_EACH, "--connect-fault", "rotated")
        self.assertTrue(client.oauth.has_content_credentials())
        account = self.integration(client, auth_type="Service Account")
        # Each exchange has another session token of the content in its file.
        for _ in range(3):
            token = client.oauth.get_content_credentials(audience=account)
            self.assertIn("measurements", self.get(connect["ENTRAR_DEMO_BLOB"] + "?comp=list", token).text)
        viewer = self.integration(client, auth_type="Viewer")
        error = self.refused(client.oauth.get_content_credentials, audience=viewer)
        self.assertIn("does not support Service Account auth flows", error.error_message)

    def test_nothing_is_attached(self):
        connect, client = self.start("--integration", "none")
        error = self.refused(client.oauth.get_credentials, connect.visitors[ADA])
        self.assertEqual((error.http_status, error.error_code), (400, 212))

    def test_a_visitor_is_refused_and_another_is_not(self):
        refused = f"{BOB}=visitor_refused"
        connect, client = self.start("--integration", "graph", "--connect-fault", refused)
        self.refused(client.oauth.get_credentials, connect.visitors[BOB])
        token = client.oauth.get_credentials(connect.visitors[ADA])
        self.assertEqual(self.name(connect, token), "Ada Example")

    def test_the_key_has_expired(self):
        connect, client = self.start("--connect-fault", "key_expired")
        error = self.refused(client.oauth.get_credentials, connect.visitors[ADA])
        self.assertEqual(error.http_status, 401)


if __name__ == "__main__":
    unittest.main()
