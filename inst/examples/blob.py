"""The containers of a storage account, with Microsoft's SDK. 

Needs: pip install posit-sdk azure-storage-blob

Run it in a session and name your account: python blob.py https://example.blob.core.windows.net
The SDK sends tokens over https only, which the demo's own storage does not speak; Azurite does.
"""

import os
import sys
import time

from azure.core.credentials import AccessToken
from azure.storage.blob import BlobServiceClient
from posit.workbench import Client

RENEW_BEFORE = 300  # seconds


class DelegatedCredential:
    """What the Azure SDK asks for tokens: one resource's, kept until shortly before they expire."""

    def __init__(self, client, resource):
        self._client = client
        self._resource = resource
        self._kept = None

    def get_token(self, *scopes, **options):
        if self._kept is None or self._kept.expires_on - time.time() < RENEW_BEFORE:
            asked = int(time.time())
            token = self._client.oauth.get_delegated_azure_token(self._resource)
            self._kept = AccessToken(token["access_token"], asked + int(token["expires_in"]))
        return self._kept


account = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ENTRAR_DEMO_BLOB", "")
if not account.startswith("https://"):
    sys.exit("Name a storage account, with https, without which the SDK sends no token: https://example.blob.core.windows.net")

credential = DelegatedCredential(Client(), "https://storage.azure.com")
with BlobServiceClient(account, credential=credential) as service:
    names = [container.name for container in service.list_containers()]
print("Containers in", account, "are", ", ".join(names) or "none")
