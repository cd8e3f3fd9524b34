"""The credential that Posit Workbench's documentation shows for the Azure SDK, as its readers paste it."""

import time

from azure.core.credentials import AccessToken, TokenCredential


class WorkbenchAzureCredential(TokenCredential):
    """Gives the Azure SDK delegated tokens for one resource, whatever scopes it asks for.

    A token is kept, and replaced when less than a minute of it is left.
    """

    def __init__(self, client, resource):
        self._client = client
        self._resource = resource
        self._token = None
        self._expires_on = 0

    def _refresh_token(self):
        token = self._client.oauth.get_delegated_azure_token(self._resource)
        self._token = token["access_token"]
        self._expires_on = int(time.time()) + token["expires_in"]

    def get_token(self, *scopes, **kwargs):
        now = int(time.time())
        if self._token is None or now >= self._expires_on - 60:
            self._refresh_token()
        return AccessToken(self._token, self._expires_on)
