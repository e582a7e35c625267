"""The pages of an atlas in Chromium, with generated data."""

import base64
import contextlib
import functools
import http.server
import os
import shutil
import threading
from urllib.parse import quote

import numpy as np
import pytest
from example_atlas_data import SITE, layer, write_atlas

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Of a phone, in CSS pixels.
WIDTH, HEIGHT = 390, 844
# Names that would open a dialog if they were run as code.
HOSTILE = "<img src=x onerror=alert(1)>/..%2F?#&'\"`\u202e"
IMAGES = ["astronaut.png", "<img src=x onerror=alert(2)>.png", "chelsea.png"]
# The true and the predicted label of each.
LABELS = [(None, "hen"), ("hen", HOSTILE), ("tabby cat", "tabby cat")]
TITLE = "Birds <and> cats"
CLASSES = ["hen", "</script><script>alert(3)</script>", "tabby cat"]
LAYERS = [
    layer("stem"),
    layer("block2_expand", 16, [0], by_relevance=True, inactive=[2]),
    layer("branch_a", 4, [1]),
    layer("branch_b", 4, [1]),
    layer("add", 4, [2, 3]),
    layer("same", 4, [4]),
    layer("same", 4, [5]),
    layer(HOSTILE, 4, [6, 4]),
    layer("broken", 4, [7], filters=[], error=f"no gradient {HOSTILE}"),
    layer("predictions", 3, [7], labels=CLASSES, class_name="Dense", output_shape=[3]),
]
ERRORS = {(1, 3): f"Nothing excites it {HOSTILE}"}
# One page of each kind.
KINDS = {
    "map": "#/",
    "grid": "#/block2_expand",
    "hostile": "#/" + quote(HOSTILE, safe="!'()*"),
    "failed layer": "#/broken",
    "channel": "#/block2_expand/5",
    "failed channel": "#/block2_expand/3",
    "inactive channel": "#/block2_expand/2",
    "class": "#/predictions/1",
    "wrong address": "#/nothing",
}

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def handle(self):
        # A page may be left before its pictures are loaded.
        with contextlib.suppress(ConnectionError):
            super().handle()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Several atlases, each in a folder of its own."""
    made = tmp_path_factory.mktemp("atlases")
    images = [(name, *labels) for name, labels in zip(IMAGES, LABELS, strict=True)]
    write_atlas(made / "small", LAYERS, images, ERRORS, title=TITLE)
    write_atlas(made / "bare", [layer("conv"), layer("dense", 4, [0])], finished=False)
    write_atlas(made / "wide", [layer("wide", 5000), layer("next", 4, [0])])
    many = [layer(f"block{n}", 100, [n - 1] if n else []) for n in range(50)]
    write_atlas(made / "deep", many)
    return made


@pytest.fixture(scope="module")
def server(folder):
    handler = functools.partial(QuietHandler, directory=os.fspath(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # Chromium's sandbox does not run as root, which containers use.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A browser page that records requests and everything that pages must not do."""

    def __init__(self, context, root):
        self.root, self.requests, self.problems = root, [], []
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', event =>"
            " console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.page.on("console", self.listen)

    def listen(self, message):
        # Missing pictures are requested, too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def read(self, address="#/", atlas="small"):
        """Opens a page, and waits until its data are loaded."""
        if self.page.url.startswith(f"{self.root}{atlas}/"):
            self.page.evaluate("address => { location.hash = address }", address)
        else:
            self.page.goto(f"{self.root}{atlas}/index.html{address}")
        self.settle()
        return self.page

    def until(self, expression):
        # Playwright's own wait evaluates text, which the content security policy forbids.
        for _ in range(500):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(expression)

    def settle(self):
        self.until("typeof atlas === 'object' && atlas.view?.address === location.hash")
        self.page.evaluate("atlas.view.ready")

    def check(self):
        assert not self.problems
        foreign = [url for url in self.requests if not url.startswith((self.root, "data:"))]
        assert not foreign

    @property
    def heading(self):
        return self.page.locator("h1").inner_text()

    @property
    def hash(self):
        return self.page.evaluate("location.hash")

    def focused(self):
        return self.page.evaluate("document.activeElement.getAttribute('href')")

    def pictures(self):
        return {url for url in self.requests if "/pictures/" in url}


@pytest.fixture
def opened(browser, server):
    """Opens browser pages, and checks all of them at the end."""
    contexts, readers = [], []

    def open_(root=None, **settings):
        contexts.append(browser.new_context(**settings))
        readers.append(Reader(contexts[-1], root or server))
        return readers[-1]

    yield open_
    for reader in readers:
        reader.check()
    for context in contexts:
        context.close()


@pytest.fixture
def reader(opened):
    return opened()


def address_of(position):
    # The address of a layer whose name is not unique has its position.
    name = LAYERS[position]["name"]
    return "#/" + quote(f"same~{position}" if name == "same" else name, safe="!'()*~")


def addresses():
    """The addresses of all pages of the small atlas."""
    yield "#/"
    for position, data in enumerate(LAYERS):
        yield address_of(position)
        yield from (f"{address_of(position)}/{index}" for index in data["filters"])


def test_every_page_is_linked_and_has_its_own_title(opened, folder):
    """From the disk; other tests read pages from a server."""
    reader = opened(root=f"file://{folder}/")
    titles, queue, seen = {}, ["#/"], {"#/"}
    while queue:
        address = queue.pop()
        page = reader.read(address)
        assert "not found" not in reader.heading
        titles[page.title()] = address
        links = page.evaluate("[...document.links].map(link => link.getAttribute('href'))")
        new = set(links) - seen
        seen |= new
        queue += sorted(new)
    assert seen == set(addresses())
    assert len(titles) == len(seen)
    assert all(TITLE in title for title in titles)


def test_the_map_shows_each_layer_and_its_predecessors(reader):
    page = reader.read()
    rows = page.locator(".map > li").all()[1:]
    assert len(rows) == len(LAYERS)
    for data, row in zip(LAYERS, rows, strict=True):
        assert row.locator("h3").inner_text() == data["name"]
        text = row.inner_text()
        assert data["class_name"] in text
        assert ("11 \u00d7 11 px" in text) == (data["receptive_field"] is not None)
        assert f"{data['filter_count']} " in text
        assert row.locator("img").count() == min(8, len(data["filters"]))
    assert "from branch_a and branch_b" in rows[4].inner_text()
    assert "from block2_expand" in rows[3].inner_text()
    assert f"no gradient {HOSTILE}" in rows[8].inner_text()
    about = page.locator(".about").inner_text()
    assert all(text in about for text in ("a_network", "keras3-vis 0.2.0", "steps", "120", "seed"))


def test_lines_of_the_map_connect_layers_with_their_predecessors(reader):
    """Follows lines from row to row, by the screen positions of their ends."""
    page = reader.read()
    rows = page.evaluate(
        """() => [...document.querySelectorAll('.map > li')].map(row => {
          const ends = path => [0, path.getTotalLength()].map(at => {
            const point = path.getPointAtLength(at).matrixTransform(path.getScreenCTM());
            return [Math.round(point.x), Math.round(point.y)];
          });
          const node = row.querySelector('.node').getBoundingClientRect();
          return {
            node: [node.x + node.width / 2, node.y + node.height / 2],
            lines: [...row.querySelectorAll('path')].map(ends),
          };
        })"""
    )

    def is_near(first, second):
        return np.allclose(first, second, atol=1.5)

    def lines_of(row):
        lines = rows[row]["lines"] if row < len(rows) else []
        return [sorted(line, key=lambda point: point[1]) for line in lines]

    def successors(row):
        """The rows that lines from the node of this one reach."""
        reached, points = set(), [(row, rows[row]["node"])]
        while points:
            current, point = points.pop()
            for later in (current, current + 1):
                for start, end in lines_of(later):
                    if is_near(start, point) and end[1] > point[1]:
                        if is_near(end, rows[later]["node"]):
                            reached.add(later)
                        else:
                            points.append((later, end))
        return reached

    expected = {0: {1}}
    for position, data in enumerate(LAYERS):
        for predecessor in data["predecessors"]:
            expected.setdefault(predecessor + 1, set()).add(position + 1)
    actual = {row: successors(row) for row in range(len(rows))}
    assert {row: reached for row, reached in actual.items() if reached} == expected


def test_back_and_forward(reader):
    page = reader.read()
    page.locator(".map h3 a").nth(1).click()
    reader.settle()
    assert reader.heading == "block2_expand"
    # Screen readers read the new page.
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.locator(".grid a").nth(5).click()
    reader.settle()
    assert (reader.heading, reader.hash) == ("Channel 5", "#/block2_expand/5")
    page.go_back()
    reader.settle()
    assert reader.heading == "block2_expand"
    assert reader.focused() == "#/block2_expand/5"
    page.go_back()
    reader.settle()
    assert reader.heading == TITLE
    page.go_forward()
    page.go_forward()
    reader.settle()
    assert reader.heading == "Channel 5"


def test_back_restores_the_scroll_position(reader):
    page = reader.read("#/wide", "wide")
    page.mouse.wheel(0, 20_000)
    reader.until("scrollY > 19000 && history.state?.scroll === scrollY")
    scroll = page.evaluate("scrollY")
    page.evaluate("document.elementFromPoint(300, 400).closest('a').click()")
    reader.settle()
    assert reader.heading.startswith("Channel ")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    reader.settle()
    assert page.evaluate("scrollY") == scroll
    page.reload()
    reader.settle()
    assert page.evaluate("scrollY") == scroll


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("#/nothing", "no layer \u201cnothing\u201d"),
        ("#/block2", "block2_expand"),
        ("#/same", "no layer \u201csame\u201d"),
        ("#/stem/99", "no channel"),
        ("#/stem/x", "no channel"),
        ("#/stem/1/2", "no channel"),
        ("#/stem/-1", "no channel"),
        ("#/%", "mistyped"),
        ("#/<img src=x onerror=alert(4)>", "no layer"),
    ],
)
def test_a_wrong_address(reader, address, message):
    page = reader.read(address)
    assert reader.heading == "Page not found"
    assert message in page.locator("main").inner_text()
    page.get_by_role("link", name="The map").click()
    reader.settle()
    assert reader.heading == TITLE


def search(page, query):
    """Search results for a query, as (name, layer or description)."""
    page.keyboard.press("/")
    page.get_by_role("combobox").fill(query)
    options = page.get_by_role("option").all()
    return [tuple(option.locator(".caption > span").all_inner_texts()) for option in options]


def test_search(reader):
    page = reader.read()
    assert search(page, "hen") == [("hen", "predictions")]
    assert page.get_by_role("status").inner_text() == "1 result"
    page.keyboard.press("Enter")
    reader.settle()
    assert (reader.heading, reader.hash) == ("hen", "#/predictions/0")

    results = search(page, "block2")
    assert results[0] == ("block2_expand", "Layer \u00b7 16 channels")
    assert len(results) == 17
    box = page.get_by_role("combobox")
    for key, rank in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1)):
        box.press(key)
        chosen = page.locator("[role=option][aria-selected=true]")
        assert chosen.get_attribute("id") == box.get_attribute("aria-activedescendant")
        assert chosen.locator(".name").first.inner_text() == results[rank][0]
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert reader.hash == "#/predictions/0"

    assert search(page, "block2_expand 12") == [("Channel 12", "block2_expand")]
    page.get_by_role("option").click()
    reader.settle()
    assert reader.hash == "#/block2_expand/12"

    assert search(page, "nobody") == []
    assert "No results" in page.get_by_role("status").inner_text()
    page.keyboard.press("Escape")
    assert search(page, "dense") == [("predictions", "Layer \u00b7 3 classes")]


def test_search_of_many(reader):
    page = reader.read("#/", "deep")
    assert search(page, "block49 99") == [("Channel 99", "block49")]
    page.keyboard.press("Escape")
    assert len(search(page, "block")) == 40
    assert "first 40 of 5,050" in page.get_by_role("status").inner_text()


def test_keyboard(reader):
    page = reader.read()

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)
            reader.settle()

    press("j", "ArrowRight")
    assert reader.focused() == "#/block2_expand"
    press("k", "j", "Enter")
    assert reader.heading == "block2_expand"
    columns = page.evaluate("getComputedStyle(document.querySelector('.grid')).gridTemplateColumns")
    columns = len(columns.split())
    press("j", "ArrowDown", "ArrowRight")
    assert reader.focused() == f"#/block2_expand/{columns + 1}"
    press("ArrowUp", "Enter")
    assert reader.heading == "Channel 1"
    press("ArrowRight", "j", "j", "k")
    assert reader.heading == "Channel 3"
    press("ArrowLeft", "Escape")
    assert (reader.heading, reader.focused()) == ("block2_expand", "#/block2_expand/2")
    press("Escape")
    assert (reader.heading, reader.focused()) == (TITLE, "#/block2_expand")
    # With modifiers, keys belong to the browser.
    press("Control+j")
    assert reader.focused() == "#/block2_expand"
    press("?")
    assert "Search" in page.get_by_role("dialog", name="Keyboard shortcuts").inner_text()
    press("Escape", "/")
    press("j", "t", "?")
    assert page.get_by_role("combobox").input_value() == "jt?"


def test_tab_order_and_focus_outline(reader):
    page = reader.read("#/block2_expand")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.keyboard.press("Tab")
    outline = page.evaluate(
        "(({outlineStyle, outlineWidth}) => outlineStyle + parseFloat(outlineWidth))"
        "(getComputedStyle(document.activeElement))"
    )
    assert outline == "solid3"


def test_keyboard_reaches_items_outside_the_virtual_grid(reader):
    page = reader.read("#/wide", "wide")
    page.keyboard.press("j")
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    index = int(reader.focused().rsplit("/", 1)[1])
    assert index >= 200
    box = page.evaluate(
        "(({top, bottom}) => [top, bottom])(document.activeElement.getBoundingClientRect())"
    )
    assert 0 < box[0] < box[1] <= page.viewport_size["height"]
    # The focused item stays while others scroll away.
    page.mouse.wheel(0, 30_000)
    reader.until("scrollY > 30000")
    assert reader.focused() == f"#/wide/{index}"


def brightness(page):
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return np.mean([float(part) for part in colour.strip("rgba()").split(",")[:3]])


@pytest.mark.parametrize("has_storage", [True, False])
def test_light_and_dark(opened, has_storage):
    reader = opened(color_scheme="dark")
    if not has_storage:
        forbid = "Object.defineProperty(window, 'localStorage', {get() { throw Error('no') }})"
        reader.page.add_init_script(forbid)
    page = reader.read()
    assert brightness(page) < 60
    page.get_by_role("button", name="Light theme").click()
    assert brightness(page) > 200
    page.reload()
    reader.settle()
    assert (brightness(page) > 200) == has_storage
    if has_storage:
        page.keyboard.press("t")
        assert brightness(page) < 60
    # Back at the system's theme, it follows the system again.
    page.emulate_media(color_scheme="light")
    reader.until("document.documentElement.dataset.theme === 'light'")
    assert brightness(page) > 200


def width_of(page, selector):
    return page.locator(selector).first.bounding_box()["width"]


def test_zoom(reader):
    page = reader.read("#/block2_expand/5")
    page.get_by_role("button", name="Picture of Channel 5").click()
    before = width_of(page, ".frame img")
    assert before > 400  # of a picture of 32 pixels
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert width_of(page, ".frame img") == pytest.approx(before * 1.25**2, rel=0.01)
    page.get_by_role("button", name="Zoom out").click()
    assert width_of(page, ".frame img") == pytest.approx(before * 1.25, rel=0.01)
    page.mouse.move(640, 500)
    page.mouse.wheel(0, -100)
    assert width_of(page, ".frame img") == pytest.approx(before * 1.25**2, rel=0.01)
    page.keyboard.press("0")
    assert width_of(page, ".frame img") == pytest.approx(before, rel=0.01)
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert reader.hash == "#/block2_expand/5"


def test_larger_pictures_in_a_grid(reader):
    page = reader.read("#/block2_expand")
    before = width_of(page, ".grid img")
    page.keyboard.press("+")
    assert width_of(page, ".grid img") > before * 1.2
    page.reload()
    reader.settle()
    assert width_of(page, ".grid img") > before * 1.2
    page.get_by_role("button", name="Smaller pictures").click()
    assert width_of(page, ".grid img") == before


def layer_data(page, position=1):
    return page.evaluate("key => atlas.data(key)", f"layers/{position:04}")


def test_images_are_cropped_to_the_receptive_field(reader):
    page = reader.read("#/block2_expand/5")
    channel = layer_data(page)["channels"][5]
    crops = page.locator(".crops li")
    assert crops.count() == len(channel["top_images"]) == len(IMAGES)
    for crop, entry in zip(crops.all(), channel["top_images"], strict=True):
        image = crop.locator("img")
        image.scroll_into_view_if_needed()
        frame, whole = crop.locator(".crop-frame").bounding_box(), image.bounding_box()
        top, left, bottom, right = entry["box"]
        scale = whole["width"] / 96
        assert (frame["x"] - whole["x"]) / scale == pytest.approx(left, abs=0.5)
        assert (frame["y"] - whole["y"]) / scale == pytest.approx(top, abs=0.5)
        assert frame["width"] / scale == pytest.approx(right - left, abs=0.5)
        assert frame["height"] / scale == pytest.approx(bottom - top, abs=0.5)
        assert image.get_attribute("src") == f"images/{entry['image']:05}.jpg"
        assert IMAGES[entry["image"]] in image.get_attribute("alt")
        assert crop.locator(".value").inner_text() == f"{entry['value']:g}"

        painted = crop.locator("canvas").evaluate(
            "canvas => [...canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height).data]"
        )
        heatmap = entry["heatmap"]
        painted = np.reshape(painted, (heatmap["rows"], heatmap["columns"], 4))
        values = np.frombuffer(base64.b64decode(heatmap["values"]), np.uint8).reshape(7, 7)
        np.testing.assert_allclose(painted[..., 3], 0.8 * values, atol=1)
        is_opaque = values > 50  # Colors of nearly transparent pixels are rounded.
        order = np.argsort(values[is_opaque])
        luminance = (painted[..., :3] @ [0.2126, 0.7152, 0.0722])[is_opaque][order]
        assert (np.diff(luminance) >= -3).all()


def test_heatmaps_are_shown_and_hidden(reader):
    page = reader.read("#/block2_expand/5")
    heatmap = page.locator(".crops canvas").first
    button = page.get_by_role("button", name="Heat maps")
    assert heatmap.is_visible()
    page.keyboard.press("h")
    assert not heatmap.is_visible()
    assert button.get_attribute("aria-pressed") == "false"
    page.keyboard.press("j")
    reader.settle()
    assert not page.locator(".crops canvas").first.is_visible()
    page.get_by_role("button", name="Heat maps").click()
    assert page.locator(".crops canvas").first.is_visible()


def test_the_whole_image_with_the_receptive_field_marked(reader):
    page = reader.read("#/block2_expand/5")
    entries = layer_data(page)["channels"][5]["top_images"]
    page.locator(".crops button").nth(1).click()
    for rank, key in ((1, "j"), (2, "ArrowRight"), (0, "k"), (2, "ArrowLeft"), (1, "Escape")):
        entry = entries[rank]
        assert IMAGES[entry["image"]] in page.locator("dialog h2").inner_text()
        image = page.locator(".frame img").bounding_box()
        box = page.locator(".frame .box").bounding_box()
        scale = image["width"] / 96
        top, left, bottom, _ = entry["box"]
        assert (box["x"] - image["x"]) / scale == pytest.approx(left, abs=0.1)
        assert (box["y"] - image["y"]) / scale == pytest.approx(top, abs=0.1)
        assert box["height"] / scale == pytest.approx(bottom - top, abs=0.1)
        page.keyboard.press(key)
    assert page.get_by_role("dialog").count() == 0


def test_true_and_predicted_labels(reader):
    page = reader.read("#/block2_expand/5")
    entries = layer_data(page)["channels"][5]["top_images"]
    texts = {0: "predicted: hen", 1: f"hen, predicted: {HOSTILE}", 2: "tabby cat"}
    for crop, entry in zip(page.locator(".crops li").all(), entries, strict=True):
        label = crop.locator(".label")
        assert label.inner_text() == texts[entry["image"]]
        assert ("wrong" in label.get_attribute("class")) == (entry["image"] == 1)
    page.locator(".crops button").first.click()
    assert texts[entries[0]["image"]] in page.locator("dialog h2").inner_text()


def test_images_of_classes_are_neither_cropped_nor_covered(reader):
    page = reader.read("#/block2_expand/5")
    hint = "Images cropped to the receptive field, with the activation as a heat map."
    assert hint in page.locator(".top-images").inner_text()
    page = reader.read("#/predictions/1")
    text = page.locator(".top-images").inner_text()
    assert "Select one to enlarge it" in text
    assert "crop" not in text.lower()
    assert "heat" not in text.lower()
    assert page.locator(".top-images canvas").count() == 0
    page.locator(".crops button").first.click()
    image = page.locator(".frame img")
    assert "receptive field" not in image.get_attribute("alt")
    assert page.locator(".frame .box").evaluate("e => getComputedStyle(e).outlineStyle") == "none"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_legend_has_the_colours_of_heat_maps(opened, theme):
    """The same colours and opacities, over dark and bright parts of an image."""
    reader = opened(color_scheme=theme)
    page = reader.read("#/block2_expand/5")
    legend = page.locator(".colormap")
    assert legend.evaluate("e => getComputedStyle(e).backgroundImage") == (
        "linear-gradient(rgb(255, 255, 255), rgb(0, 0, 0))"
    )
    read = (
        "canvas => [...canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data]"
    )
    heatmap = layer_data(page)["channels"][5]["top_images"][0]["heatmap"]
    levels = np.frombuffer(base64.b64decode(heatmap["values"]), np.uint8)
    painted = np.reshape(page.locator(".crops canvas").first.evaluate(read), (-1, 4))
    in_legend = np.reshape(legend.evaluate(read), (64, 4))
    # As a browser blends them: the canvas rounds weak colors.
    painted, in_legend = (c[:, :3] * c[:, 3:] / 255 for c in (painted, in_legend))
    for channel in range(3):
        expected = np.interp(levels, np.linspace(0, 255, 64), in_legend[:, channel])
        np.testing.assert_allclose(painted[:, channel], expected, atol=2.5)


def test_a_layer_says_how_its_channels_were_chosen(reader):
    text = "The channels that the classes depend on most."
    assert text in reader.read("#/block2_expand").locator("main").inner_text()
    assert text not in reader.read("#/stem").locator("main").inner_text()


def test_histogram(reader):
    page = reader.read("#/block2_expand/5")
    counts = layer_data(page)["channels"][5]["histogram"]["counts"]
    heights = page.evaluate(
        "[...document.querySelectorAll('.histogram rect')].map(bar => bar.height.baseVal.value)"
    )
    np.testing.assert_allclose(heights / np.max(heights), counts / np.max(counts), atol=0.03)
    label = page.locator(".histogram svg").get_attribute("aria-label")
    assert "From \u22121.2 to 8.4" in label


def test_links_from_channel_to_channel(reader):
    page = reader.read("#/add/2")
    channel = layer_data(page, 4)["channels"][2]
    for name, links in (("Excited by", "excited_by"), ("Excites", "excites")):
        region = page.get_by_role("region", name=name)
        shown = region.locator("li")
        assert shown.count() == len(channel[links]) > 0
        strongest = channel[links][0][2]
        for item, (position, index, value) in zip(shown.all(), channel[links], strict=True):
            address = f"{address_of(position)}/{index}"
            assert item.locator("a").get_attribute("href") == address
            assert LAYERS[position]["name"] in item.inner_text()
            bar, room = (
                item.locator(".bar").bounding_box(),
                item.locator(".link-value").bounding_box(),
            )
            full = room["width"] - 56 - 8  # Without the number and its gap.
            assert bar["width"] / full == pytest.approx(value / strongest, abs=0.02)
    page.get_by_role("region", name="Excited by").locator("a").first.click()
    reader.settle()
    assert reader.hash.startswith("#/branch_")


def test_errors_are_shown(reader):
    page = reader.read("#/broken")
    assert f"no gradient {HOSTILE}" in page.locator("main").inner_text()
    page = reader.read("#/block2_expand")
    page.get_by_role("img", name="Channel 3: no picture").wait_for()
    page = reader.read("#/block2_expand/3")
    assert f"Nothing excites it {HOSTILE}" in page.locator("main").inner_text()


def test_an_inactive_channel_has_a_note_instead_of_a_picture(reader):
    page = reader.read("#/block2_expand")
    page.get_by_role("img", name="Channel 2: inactive").wait_for()
    page = reader.read("#/block2_expand/2")
    text = page.locator("main").inner_text()
    assert "This channel is inactive: no image was found that activates it." in text
    assert page.locator(".figure img, .crops").count() == 0
    page.keyboard.press("z")
    assert page.get_by_role("dialog").count() == 0


def test_an_unfinished_atlas_without_images(reader, folder):
    page = reader.read("#/", "bare")
    assert "not finished yet" in page.locator("main").inner_text()
    page = reader.read("#/conv/1", "bare")
    assert "This atlas has no images" in page.locator("main").inner_text()
    assert page.locator(".histogram").count() == 0
    (folder / "bare" / "data" / "layers" / "0001.js").unlink()
    page = reader.read("#/dense/1", "bare")
    assert "The data of this layer are not ready yet" in page.locator("main").inner_text()


@pytest.mark.parametrize("text", [None, "", "atlas.receive('layers/0001', {});"])
def test_an_incomplete_folder(opened, tmp_path, text):
    shutil.copytree(SITE, tmp_path / "atlas")
    if text is not None:
        (tmp_path / "atlas" / "data").mkdir()
        (tmp_path / "atlas" / "data" / "atlas.js").write_text(text)
    reader = opened(root=f"file://{tmp_path}/")
    reader.page.goto(f"file://{tmp_path}/atlas/index.html")
    reader.page.get_by_text("Is the folder complete?").wait_for()
    assert reader.heading == "No atlas"


def test_hostile_names_are_text(reader):
    page = reader.read(KINDS["hostile"])
    assert reader.heading == HOSTILE
    assert page.title().startswith(HOSTILE)
    assert page.locator("img[src=x], main script").count() == 0
    page = reader.read("#/predictions/1")
    assert reader.heading == CLASSES[1]
    assert page.get_by_role("button", name=IMAGES[1]).count() == 1
    assert search(page, "<script>alert")[0] == (CLASSES[1], "predictions")


@pytest.mark.parametrize("where", ["a server", "the disk"])
def test_the_content_security_policy_refuses_inline_code(opened, folder, where):
    reader = opened(root=f"file://{folder}/" if where == "the disk" else None)
    page = reader.read()
    page.evaluate(
        """() => {
          const inline = document.createElement('script');
          inline.textContent = 'document.title = "ran"';
          const image = document.createElement('div');
          image.innerHTML = '<img src="x" onerror="document.title = `ran`">';
          document.body.append(inline, image);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.title() == TITLE
    assert any("script-src" in problem for problem in reader.problems)
    reader.problems.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_pages_fit_on_a_phone(opened, kind):
    reader = opened(viewport={"width": WIDTH, "height": HEIGHT}, is_mobile=True, has_touch=True)
    page = reader.read(KINDS[kind])

    def fits():
        return page.evaluate("document.documentElement.scrollWidth") <= WIDTH

    assert fits()
    assert page.locator("h1").is_visible()
    size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)")
    assert size >= 14
    page.get_by_role("button", name="Search").first.tap()
    page.get_by_role("combobox").fill("block2")
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog["x"] >= 0
    assert dialog["x"] + dialog["width"] <= WIDTH
    assert fits()


def test_long_names_wrap_on_a_phone(opened, tmp_path):
    long = "a" * 300
    layers = [layer(long), layer("predictions", 3, [0], labels=[long, "b", "c"])]
    write_atlas(tmp_path / "long", layers, [(f"{long}.png", long, long + "b")], title=long)
    settings = {"viewport": {"width": WIDTH, "height": HEIGHT}, "is_mobile": True}
    reader = opened(root=f"file://{tmp_path}/", **settings)
    for address in ("#/", f"#/{long}", "#/predictions", "#/predictions/0", f"#/{long}/0"):
        page = reader.read(address, "long")
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    page.locator(".crops button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessibility(opened, theme):
    reader = opened(color_scheme=theme)

    def check(name):
        results = axe.Axe().run(reader.page)
        assert not results.violations_count, (name, results.generate_report())

    for kind, address in KINDS.items():
        reader.read(address)
        check(kind)
    page = reader.read("#/block2_expand/5")
    for key, kind in (("?", "shortcuts"), ("z", "viewer"), ("/", "search")):
        page.keyboard.press(key)
        if kind == "search":
            page.get_by_role("combobox").fill("block2")
        check(kind)
        page.keyboard.press("Escape")
    page.locator(".crops button").first.click()
    check("image")


def test_data_and_pictures_are_loaded_lazily(reader):
    page = reader.read("#/", "deep")
    assert not [url for url in reader.requests if "/data/layers/" in url]
    # Eight for each layer near the window.
    assert 0 < len(reader.pictures()) <= 50 * 8 / 2
    page = reader.read("#/block7/3", "deep")
    assert [url[-7:] for url in reader.requests if "/data/layers/" in url] == ["0007.js"]
    page.keyboard.press("j")
    reader.settle()
    assert sum("/data/layers/" in url for url in reader.requests) == 1


def test_a_layer_of_five_thousand_channels(reader):
    page = reader.read("#/wide", "wide")
    tiles = page.locator(".grid > li")
    # A few screens.
    assert 20 < tiles.count() < 300
    assert len(reader.pictures()) < 300
    assert tiles.first.get_attribute("aria-setsize") == "5000"
    height = page.evaluate("document.documentElement.scrollHeight")
    for part in (0.25, 0.5, 0.75):
        page.evaluate("y => scrollTo(0, y)", part * height)
        page.wait_for_timeout(100)
        # Tiles fill the window in the order of their indices.
        seen = page.evaluate(
            """() => [...document.querySelectorAll('.grid > li')]
              .filter(tile => { const {top, bottom} = tile.getBoundingClientRect();
                                return bottom > 0 && top < innerHeight })
              .map(tile => Number(tile.innerText))"""
        )
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        assert seen[0] == pytest.approx(part * 5000, rel=0.05)
        assert tiles.count() < 300
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.get_by_role("link", name="Channel 4999").wait_for()
    assert page.evaluate("document.documentElement.scrollHeight") == height
    # Pictures that were scrolled past quickly are not requested.
    assert len(reader.pictures()) < 1000


def test_fifty_layers_of_a_hundred_channels(reader):
    page = reader.read("#/", "deep")
    assert page.locator(".map h3").count() == 50
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_timeout(200)
    last = page.locator(".map > li").last.locator("img").last
    assert last.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    page = reader.read("#/block49", "deep")
    assert page.locator(".grid img").first.evaluate("image => image.decode().then(() => true)")
