"""Microseconds that azure-identity takes for a token it has in its cache: the median of seven rounds.

The token endpoint is a transport that answers without a network."""

import json
import statistics
import time

from azure.core.pipeline.transport import HttpTransport
from azure.identity import ClientSecretCredential

CALLS = 10_000
AUTHORITY = "login.example.com"
SCOPE = "https://storage.azure.com/.default"


class Response:
    """As much of a response of requests as azure-identity and msal look at."""

    status_code = 200
    content_type = "application/json"
    headers = {"content-type": content_type}

    def __init__(self, request, body):
        self.request = request
        self.content = json.dumps(body)

    def text(self, encoding=None):
        return self.content

    def body(self):
        return self.content.encode()


class Canned(HttpTransport):
    def send(self, request, **kwargs):
        base = f"https://{AUTHORITY}/tenant"
        if "openid-configuration" in request.url:
            body = {"token_endpoint": f"{base}/token", "authorization_endpoint": f"{base}/authorize", "issuer": base}
        else:
            body = {"access_token": "secret", "token_type": "Bearer", "expires_in": 3600}
        return Response(request, body)

    def open(self):
        pass

    def close(self):
        pass

    def __exit__(self, *_):
        pass


credential = ClientSecretCredential(
    "tenant", "client", "secret", authority=AUTHORITY, disable_instance_discovery=True, transport=Canned()
)
credential.get_token(SCOPE)
rounds = []
for _ in range(7):
    start = time.perf_counter()
    for _ in range(CALLS):
        credential.get_token(SCOPE)
    rounds.append((time.perf_counter() - start) / CALLS * 1e6)
print(f"{statistics.median(rounds):.2f}")
