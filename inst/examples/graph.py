"""Who you are, from Microsoft Graph.

Needs: pip install posit-sdk requests

Run it in a session of Posit Workbench, or in one of `entrar demo` (see ?entrar::entrar in R):

    entrar demo -- python graph.py
"""

import os

import requests
from posit.workbench import Client

graph = os.environ.get("ENTRAR_DEMO_GRAPH", "https://graph.microsoft.com")

client = Client()
token = client.oauth.get_delegated_azure_token("https://graph.microsoft.com")

me = requests.get(
    f"{graph}/v1.0/me",
    headers={"Authorization": f"Bearer {token['access_token']}"},
    timeout=30,
)
me.raise_for_status()
print("Graph says you are", me.json()["displayName"])
