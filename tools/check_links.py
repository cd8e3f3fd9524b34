"""Finds what is broken in a built site: links to pages and headings that are not there, and anything that a page
loads from another host. Other sites' pages are not asked for.

usage: python check_links.py DIRECTORY
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"link", "script", "img", "iframe", "source"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids = set()
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.append((tag, attributes[name]))


def faults(root):
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in root.rglob("*.html")}
    for path, page in pages.items():
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data" or link == "#":
                continue
            if parts.scheme or parts.netloc:
                if tag in LOADING:
                    yield path, f"loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield path, f"links to {link}, which is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield path, f"links to {link}, which has no such heading"
    if not pages:
        yield root, "holds no page"


root = Path(sys.argv[1]).resolve()
found = sorted({f"{path.relative_to(root)} {what}" for path, what in faults(root)})
print("\n".join(found) or "no broken link")
sys.exit(bool(found))
