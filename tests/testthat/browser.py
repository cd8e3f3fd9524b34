"""A browser for sign-ins: keeps cookies, follows redirects, and answers the emulated tenant's forms as it is told.

usage: browser.py sign_in|deny USER ADDRESS    goes to ADDRESS and answers there; prints where it ends, and the page's heading;
                                               an empty USER is whom the page preselects
       browser.py code USER ADDRESS CODE       types a device code there, and signs in
"""

import html
import http.cookiejar
import re
import sys
import urllib.error
import urllib.parse
import urllib.request


class Stopped(Exception):
    """At an address of this machine that nobody listens at: a browser elsewhere shows it."""


class Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, reply, code, message, headers, address):
        if address.startswith("http://localhost/"):
            raise Stopped(address)
        return super().redirect_request(request, reply, code, message, headers, address)


opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
    Redirects(),
)


def load(address, fields=None):
    data = urllib.parse.urlencode(fields).encode() if fields else None
    try:
        return opener.open(address, data, timeout=60)
    except urllib.error.HTTPError as error:
        return error


def hidden(text):
    return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', text))


def preselected(text):
    return re.search(r'<input type="radio" name="user" value="([^"]*)" required checked>', text)[1]


def main():
    answer, user, address = sys.argv[1:4]
    if answer == "code":
        fields = {"user_code": sys.argv[4], "user": user, "answer": "sign_in"}
        page = load(address, fields)
    else:
        page = load(address)
        text = page.read().decode()
        if "<form" in text:
            fields = {name: html.unescape(value) for name, value in hidden(text).items()}
            page = load(page.geturl(), {**fields, "answer": answer, "user": user or preselected(text)})
        else:
            print(page.geturl(), heading(text))
            return
    print(page.geturl(), heading(page.read().decode()))


def heading(text):
    found = re.search(r"<h1[^>]*>(.*?)</h1>", text, re.S)
    return html.unescape(found.group(1)) if found else ""


try:
    main()
except Stopped as stopped:
    print(stopped)
