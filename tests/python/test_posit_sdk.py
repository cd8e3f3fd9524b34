"""posit-sdk, unmodified, asks our server for tokens.

Run inside a session: `entrar demo -- python tests/python/test_posit_sdk.py`.
"""

import base64
import json
import os
import time
import unittest
from unittest import mock

import requests
from posit.workbench import Client
from workbench_credential import WorkbenchAzureCredential

RESOURCES = [
    "https://storage.azure.com",
    "https://graph.microsoft.com/",
    "https://vault.azure.net",
    "https://database.windows.net/",
    "499b84ac-1321-427f-aa17-267ca6975798",
]


def claims(token):
    """What a JWT says, unverified."""
    payload = token["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def cookie():
    """The session's own cookie, from where posit-sdk would take it."""
    directory = os.environ.get("PWB_SESSION_RUNTIME_DIR")
    if directory:
        with open(os.path.join(directory, "rpc_cookie"), encoding="ascii") as file:
            return file.read().strip()
    return os.environ["RS_SESSION_RPC_COOKIE"]


class PositSdk(unittest.TestCase):
    def setUp(self):
        # Kept in a variable: posit-sdk holds its client by a weak reference only.
        self.client = Client()
        self.addCleanup(self.client.session.close)

    def test_a_token_for_each_resource(self):
        for resource in RESOURCES:
            with self.subTest(resource):
                token = self.client.oauth.get_delegated_azure_token(resource)
                self.assertEqual(token["token_type"], "Bearer")
                self.assertIs(type(token["expires_in"]), int)
                self.assertGreater(token["expires_in"], 60)
                self.assertEqual(claims(token)["aud"], resource)

    def test_every_call_brings_a_fresh_token(self):
        first = self.client.oauth.get_delegated_azure_token(RESOURCES[0])
        second = self.client.oauth.get_delegated_azure_token(RESOURCES[0])
        self.assertNotEqual(first["access_token"], second["access_token"])

    def test_an_unknown_resource(self):
        with self.assertRaisesRegex(RuntimeError, "AADSTS500011"):
            self.client.oauth.get_delegated_azure_token("https://nope.example")

    def test_an_empty_resource(self):
        with self.assertRaises(ValueError):
            self.client.oauth.get_delegated_azure_token("")

    def test_a_wrong_cookie(self):
        user, expiry, _ = cookie().split("|")
        forged = base64.b64encode(b"not the server's").decode()
        with mock.patch.dict(os.environ, {"RS_SESSION_RPC_COOKIE": f"{user}|{expiry}|{forged}"}):
            os.environ.pop("PWB_SESSION_RUNTIME_DIR", None)
            stranger = Client()
        self.addCleanup(stranger.session.close)
        with self.assertRaises(requests.HTTPError) as raised:
            stranger.oauth.get_delegated_azure_token(RESOURCES[0])
        self.assertEqual(raised.exception.response.status_code, 401)

    def test_the_documented_credential_keeps_a_token(self):
        credential = WorkbenchAzureCredential(self.client, RESOURCES[0])
        first = credential.get_token("https://storage.azure.com/.default")
        self.assertEqual(credential.get_token(), first)
        self.assertGreater(first.expires_on, time.time())
        with mock.patch("time.time", return_value=first.expires_on - 30):
            self.assertNotEqual(credential.get_token().token, first.token)


if __name__ == "__main__":
    unittest.main()
