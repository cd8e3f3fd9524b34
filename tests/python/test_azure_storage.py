"""Delegated tokens spent with Microsoft's SDK on Azurite, and the Python examples of Posit Workbench's documentation.

Run beside Azurite and inside a session, the class Expired in one whose tokens live for six seconds:

    tests/azurite/run.py entrar demo -- python tests/python/test_azure_storage.py Storage Documentation
    tests/azurite/run.py entrar demo --token-lifetime 6 -- python tests/python/test_azure_storage.py Expired
"""

import contextlib
import io
import os
import time
import unittest
import uuid

import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
from posit.workbench import Client
from workbench_credential import WorkbenchAzureCredential

STORAGE = "https://storage.azure.com"
GRAPH = "https://graph.microsoft.com"

AZURITE = os.environ["AZURITE_BLOB"]
DEMO_BLOB = os.environ["ENTRAR_DEMO_BLOB"]
DEMO_GRAPH = os.environ["ENTRAR_DEMO_GRAPH"]


class HeldCredential:
    """Offers one token for ever, whatever becomes of it."""

    def __init__(self, token):
        self._token = token

    def get_token(self, *scopes, **kwargs):
        return AccessToken(self._token, int(time.time()) + 3600)


class Session(unittest.TestCase):
    def setUp(self):
        # Kept in a variable: posit-sdk holds its client by a weak reference only.
        self.client = Client()
        self.addCleanup(self.client.session.close)

    def token(self, resource):
        return self.client.oauth.get_delegated_azure_token(resource)["access_token"]

    def service(self, credential):
        service = BlobServiceClient(account_url=AZURITE, credential=credential)
        self.addCleanup(service.close)
        return service

    def container(self):
        service = self.service(WorkbenchAzureCredential(self.client, STORAGE))
        container = service.create_container(f"python-{uuid.uuid4()}")
        self.addCleanup(container.delete_container)
        return container

    def assert_azurite_refuses(self, token, why):
        with self.assertRaises(HttpResponseError) as raised:
            list(self.service(HeldCredential(token)).list_containers())
        self.assertEqual(raised.exception.status_code, 403)
        self.assertIn(why, str(raised.exception))
        self.assert_hidden(token, str(raised.exception))

    def assert_demo_refuses(self, token, address, why):
        """The same of the demo's own services, which are no https, so that the SDK would send them no token."""
        reply = requests.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        self.assertEqual(reply.status_code, 401)
        self.assertIn(why, reply.text)
        with self.assertRaises(requests.HTTPError) as raised:
            reply.raise_for_status()
        self.assert_hidden(token, str(raised.exception) + reply.text)

    def assert_hidden(self, token, text):
        """Unlike assertNotIn, it does not print them when they are there."""
        self.assertFalse(token in text, "a token was shown")


class Storage(Session):
    def test_a_blob_goes_up_and_comes_down(self):
        container = self.container()
        content = os.urandom(300_000)
        container.upload_blob("measurements/2026.bin", content)
        self.assertEqual([blob.name for blob in container.list_blobs()], ["measurements/2026.bin"])
        self.assertTrue(container.download_blob("measurements/2026.bin").readall() == content)

    def test_a_token_for_another_resource(self):
        self.assert_azurite_refuses(self.token(GRAPH), "Invalid token audience")
        self.assert_demo_refuses(self.token(GRAPH), f"{DEMO_BLOB}?comp=list", "Audience did not match")
        self.assert_demo_refuses(self.token(STORAGE), f"{DEMO_GRAPH}/v1.0/me", "Invalid audience")


class Expired(Session):
    def test_an_expired_token_is_refused_and_the_documented_credential_renews_it(self):
        container = self.container()
        tokens = {resource: self.token(resource) for resource in [STORAGE, GRAPH]}
        time.sleep(7)
        self.assert_azurite_refuses(tokens[STORAGE], "The token is expired")
        self.assert_demo_refuses(tokens[STORAGE], f"{DEMO_BLOB}?comp=list", "The token is expired")
        self.assert_demo_refuses(tokens[GRAPH], f"{DEMO_GRAPH}/v1.0/me", "the token is expired")
        container.upload_blob("late", b"in time")
        self.assertEqual(container.download_blob("late").readall(), b"in time")


class Documentation(Session):
    """Each example as it stands in Workbench's documentation, apart from the addresses."""

    def shown(self):
        return contextlib.redirect_stdout(io.StringIO())

    def test_getting_an_access_token(self):
        with self.shown() as shown:
            client = Client()
            token = client.oauth.get_delegated_azure_token("https://storage.azure.com")
            access_token = token["access_token"]
            expires_in = token["expires_in"]
            print(f"Token expires in {expires_in} seconds")
            headers = {"Authorization": f"Bearer {access_token}"}
        self.addCleanup(client.session.close)
        self.assertEqual(shown.getvalue(), "Token expires in 3599 seconds\n")
        self.assertEqual(requests.get(f"{DEMO_BLOB}?comp=list", headers=headers, timeout=60).status_code, 200)

    def test_azure_blob_storage(self):
        container = self.container()
        with self.shown() as shown:
            client = Client()
            credential = WorkbenchAzureCredential(client, "https://storage.azure.com")
            blob_service = BlobServiceClient(account_url=AZURITE, credential=credential)
            for each in blob_service.list_containers():
                print(each["name"])
        self.addCleanup(client.session.close)
        self.addCleanup(blob_service.close)
        self.assertIn(container.container_name, shown.getvalue().splitlines())

    def test_microsoft_graph(self):
        with self.shown() as shown:
            client = Client()
            token = client.oauth.get_delegated_azure_token("https://graph.microsoft.com")
            headers = {"Authorization": f"Bearer {token['access_token']}"}
            response = requests.get(f"{DEMO_GRAPH}/v1.0/me", headers=headers)
            print(response.json())
        self.addCleanup(client.session.close)
        self.assertIn("'displayName': 'Ada Example'", shown.getvalue())


if __name__ == "__main__":
    unittest.main()
