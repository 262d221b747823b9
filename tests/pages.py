"""Reading pages in tests: what elements a text of HTML has, and what a browser makes of it."""

import shutil
import subprocess
from html.parser import HTMLParser

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """elements: (tag, attributes) of each; text: what a reader sees or a pointer shows; raises where tags do not
    match."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.parts = [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> does not match"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.parts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.parts).split())

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    def check_is_inert(self):
        """No script, nothing that runs, and nothing that is fetched from outside."""
        assert not self.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
        for tag, attributes in self.elements:
            for name, value in attributes.items():
                assert not name.startswith("on"), (tag, name)
                if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"):
                    assert value.startswith(("data:image/", "#")), (tag, name, value)
                if name == "style":
                    assert "url(" not in value, (tag, value)


def browse(arguments, page, folder):
    """Headless Chromium on a file -> what it says on stdout; skips where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()
