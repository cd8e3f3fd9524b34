"""A browser without a window, for the emulated tenant's pages.

usage: browser.py ADDRESS STAY FIELD=VALUE...

Opens the address, fills in the forms that it meets with these fields, and follows redirects. With STAY `yes` it goes to
no machine but the tenant's, and prints the address at which it would have gone on, as a browser elsewhere shows it. Else
it prints the last page.
"""

import sys
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

SECONDS = 60


class Form(HTMLParser):
    """The first form of a page: where it goes, and its fields as they are filled in."""

    def __init__(self, page):
        super().__init__()
        self.action = None
        self.fields = {}
        self.names = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = attrs["action"]
            self.inside = True
        elif self.inside and "name" in attrs:
            self.names.add(attrs["name"])
            if tag == "input" and (attrs.get("type") != "radio" or "checked" in attrs):
                self.fields[attrs["name"]] = attrs.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False


class Redirects(HTTPRedirectHandler):
    """Redirects are looked at before they are followed."""

    def redirect_request(self, *_):
        return None


def host(address):
    return urlsplit(address).netloc


def browse(address, stay, answers):
    opener = build_opener(Redirects, ProxyHandler({}), HTTPCookieProcessor(CookieJar()))
    first = host(address)
    data = None
    for _ in range(20):
        request = Request(address, data=data, headers={"Accept": "text/html"})
        try:
            reply = opener.open(request, timeout=SECONDS)
        except HTTPError as error:
            reply = error
        page = reply.read().decode()
        if "Location" in reply.headers:
            address, data = urljoin(address, reply.headers["Location"]), None
            if stay and host(address) != first:
                return address
            continue
        form = Form(page)
        if form.action is None:
            return page
        chosen = {name: value for name, value in answers.items() if name in form.names}
        data = urlencode(form.fields | chosen).encode()
        address = urljoin(address, form.action)
    sys.exit("too many pages")


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[3:])
    print(browse(sys.argv[1], sys.argv[2] == "yes", arguments))
