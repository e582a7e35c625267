"""Tests of the built documentation site in Chromium; skipped if it is not built."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import pytest

SITE = Path(__file__).parent.parent / "docs" / "_build" / "html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Size of a phone's screen in CSS pixels.
WIDTH, HEIGHT = 390, 844

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site was not built"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(Quiet, directory=os.fspath(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as found:
        # Chromium's sandbox does not run as root, the user in containers.
        browser = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    with browser.new_context() as context:
        yield context.new_page()


def pages():
    """All pages except source code, static files and the example atlas."""
    excluded = ("_modules/", "_static/", "example_atlas/")
    found = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return [name for name in found if not name.startswith(excluded)]


def test_search_finds_a_function(page, address):
    page.goto(f"{address}search.html?q=visualize_filters")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    links = [link.get_attribute("href") for link in results.all()]
    assert any("vis.visualization.visualize_filters.html" in link for link in links), links


def test_no_link_is_dead_and_no_request_goes_to_another_host(page, address):
    requested, failed = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("response", lambda response: response.status < 400 or failed.append(response.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    # Anchors by page, and the page of each link.
    anchors, links = {}, {}
    for name in pages():
        page.goto(address + name)
        anchors[name] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        for link in page.evaluate("[...document.querySelectorAll('a[href]')].map(e => e.href)"):
            if link.startswith(address):
                links.setdefault(urldefrag(link.removeprefix(address)), name)
    assert not failed
    assert all(url.startswith((address, "data:", "blob:")) for url in requested)

    for (target, anchor), name in links.items():
        target = urlsplit(target).path or "index.html"
        assert (SITE / target).is_file(), f"{name} links to {target}, which does not exist"
        if anchor and target in anchors:
            assert anchor in anchors[target], f"{name} links to {target}#{anchor}"


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "getting_started.html",
        "attention.html",
        "coming_from_tf_keras_vis.html",
        "models.html",
        "notebooks/gallery.html",
        "api/index.html",
        "api/generated/vis.visualization.visualize_filters.html",
    ],
)
def test_pages_fit_on_a_phone(browser, address, name):
    settings = {"viewport": {"width": WIDTH, "height": HEIGHT}, "is_mobile": True}
    with browser.new_context(**settings) as context:
        page = context.new_page()
        page.goto(address + name)
        # Wide elements scroll by themselves.
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
        size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)")
        assert size >= 14
        assert page.locator("h1").first.is_visible()


def test_the_first_page_shows_the_gallery(page, address):
    page.goto(address)
    cards = page.locator(".gallery-card")
    assert cards.count() >= 16
    for card in cards.all():
        picture = card.locator("img")
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        lines = [line for line in card.locator("pre").inner_text().splitlines() if line.strip()]
        assert 1 <= len(lines) <= 5
        assert "notebooks/gallery.html" in card.locator("p a").get_attribute("href")
