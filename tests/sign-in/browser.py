"""A browser without a window: opens a sign-in page of the emulated tenant, answers it, and takes the answer to the app.

usage: browser.py ADDRESS, as the variable BROWSER names it. What it answers is in the environment:

SIGN_IN_ANSWER    sign_in (the default), deny or fail
SIGN_IN_USER      who signs in; by default whom the page preselects
SIGN_IN_ERROR     with which code the sign-in fails
SIGN_IN_LOG       a file that gets a line for each page
"""

import os
import sys
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

SECONDS = 60


class Form(HTMLParser):
    """The first form of a page: where it goes, its fields as they are filled in, and the names of its buttons."""

    def __init__(self, page):
        super().__init__()
        self.address = None
        self.fields = {}
        self.buttons = set()
        self.feed(page.text)
        if self.address is None:
            raise ValueError(f"There is no form on the page: {page.text}")
        self.address = urljoin(page.url, self.address)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form" and self.address is None:
            assert attrs["method"] == "post"
            self.address = attrs["action"]
        elif tag == "input" and (attrs.get("type") != "radio" or "checked" in attrs):
            self.fields[attrs["name"]] = attrs.get("value", "")
        elif tag == "button" and "name" in attrs:
            self.buttons.add((attrs["name"], attrs["value"]))


def answer(page, session, **fields):
    """Fills in a sign-in page and sends it."""
    form = Form(page)
    assert ("answer", fields["answer"]) in form.buttons
    return session.post(form.address, data=form.fields | fields, allow_redirects=False, timeout=SECONDS)


def wanted():
    fields = {
        "answer": os.environ.get("SIGN_IN_ANSWER", "sign_in"),
        "user": os.environ.get("SIGN_IN_USER"),
        "error": os.environ.get("SIGN_IN_ERROR"),
    }
    return {name: value for name, value in fields.items() if value}


def sign_in(address):
    """From the app's address to the app's own page; returns that."""
    with requests.Session() as session:
        page = session.get(address, timeout=SECONDS)
        page.raise_for_status()
        reply = answer(page, session, **wanted())
        if reply.is_redirect:
            return session.get(reply.headers["location"], timeout=SECONDS)
        reply.raise_for_status()
        # Where a script would send the form by itself.
        form = Form(reply)
        return session.post(form.address, data=form.fields, timeout=SECONDS)


if __name__ == "__main__":
    if "SIGN_IN_LOG" in os.environ:
        with open(os.environ["SIGN_IN_LOG"], "a", encoding="ascii") as log:
            log.write("opened\n")
    sign_in(sys.argv[1]).raise_for_status()
