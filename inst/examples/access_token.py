"""A token for Azure Storage, and what is known about it.

Needs: pip install posit-sdk

Run it in a session of Posit Workbench, or in one of `entrar demo` (see ?entrar::entrar in R):

    entrar demo -- python access_token.py
"""

from posit.workbench import Client

# In a variable, since posit-sdk holds its client by a weak reference only.
client = Client()
token = client.oauth.get_delegated_azure_token("https://storage.azure.com")
print(f"It expires in {token['expires_in']} seconds and has {len(token['access_token'])} characters.")
