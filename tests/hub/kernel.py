"""Runs code in a new kernel of a Jupyter server, and prints what the code has printed.

usage: kernel.py SERVER-ADDRESS, with the token in the environment as JUPYTER_TOKEN and the code in the standard input
"""

import asyncio
import json
import os
import sys
import uuid

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

SECONDS = 100


async def main(server, code):
    headers = {"Authorization": f"token {os.environ['JUPYTER_TOKEN']}"}
    started = await AsyncHTTPClient().fetch(
        f"{server}api/kernels", method="POST", headers=headers, body="{}", request_timeout=SECONDS
    )
    kernel = f"{server}api/kernels/{json.loads(started.body)['id']}"
    address = kernel.replace("http://", "ws://") + "/channels"
    socket = await websocket_connect(HTTPRequest(address, headers=headers))
    request = uuid.uuid4().hex
    header = {"msg_id": request, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(message))
    while (text := await socket.read_message()) is not None:
        said = json.loads(text)
        if said["parent_header"].get("msg_id") != request:
            continue
        content = said["content"]
        if said["msg_type"] == "stream":
            print(content["text"], end="")
        elif said["msg_type"] == "error":
            print("\n".join(content["traceback"]), file=sys.stderr)
        elif said["msg_type"] == "status" and content["execution_state"] == "idle":
            break
    socket.close()
    await AsyncHTTPClient().fetch(kernel, method="DELETE", headers=headers, request_timeout=SECONDS)


asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.stdin.read()), SECONDS))
