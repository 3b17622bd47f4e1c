"""The page: its text, and in a real browser where there is one."""

import base64
import contextlib
import io
import itertools
import json
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sharp_unet_jax import palette
from sharp_unet_jax.report import figures, leakage, overlays, page, records, style, thumbnails
from sharp_unet_jax.report.page import Chapter
from sharp_unet_jax.report.table import Table
from tests.conftest import squares
from tests.edits import edit_record, follow, write_environment
from tests.report import browser, whole

TABLE = Table(
    "synthetic",
    "A synthetic table",
    "Protocol: none.",
    pd.DataFrame({"model": ["b", "a", "c"], "Jaccard (%)": ["**75.89 ± 2.06**", "-", "-3.10 ± 1.00"]}),
    "A note <with> `code`.",
)


def render(*sweeps):
    chapters = []
    with matplotlib.rc_context(style.RC):
        for number, sweep in enumerate(sweeps):
            predicted = overlays.predictions(sweep) if sweep.finished else {}
            chapters.append(Chapter(f"squares {number}", sweep, predicted, [TABLE], [], [], leakage.most_alike(sweep)))
        drawn = figures.draw({chapter.label: chapter.sweep for chapter in chapters})
        return page.render("Squares", "**All** went well.", [TABLE], drawn, chapters, "By **me**.")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    written = whole.sweep(folder, squares(n=8), folds=2, repeats=1)
    write_environment(folder)
    return written


@pytest.fixture(scope="module")
def html(sweep):
    return render(sweep)


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def data(html):
    return json.loads(re.search(r'<script type="application/json" id="sweep0-data">(.*?)</script>', html, re.S)[1])


def test_nothing_comes_from_elsewhere_and_links_lead_somewhere(html):
    elements = Elements(html).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements:
        for name in ("src", "href", "xlink:href"):
            if value := attributes.get(name):
                assert value.startswith("data:") or value.removeprefix("#") in ids, value
    assert not re.search(r"@import|url\((?!#)", html)


def test_headings_are_in_order_and_tables_have_headers(html):
    elements = Elements(html).found
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")


def test_the_page_carries_the_records(html, sweep):
    found = data(html)
    assert set(found["pictures"]) == set(sweep.groups)
    assert len(found["curves"]["runs"]) == 4
    run = found["curves"]["runs"][0]
    assert run["values"]["validation_jaccard"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    picture = found["pictures"][min(sweep.groups)]
    assert picture["models"] == ["unet", "sharp_unet"]
    assert Image.open(io.BytesIO(base64.b64decode(picture["labels"]))).size == (24, 48)
    for image, scores in (100 * figures.by_image(sweep)).iterrows():
        row = re.search(rf'<tr><th scope="row"><button[^>]*>{image}</button>.*?</tr>', html)[0]
        said = [f"{scores[model]:.1f}" for model in ("unet", "sharp_unet")]  # the records' own numbers
        assert re.findall(r'class="score"[^>]*>([^<]+)<', row) == said
        assert found["pictures"][image]["scores"] == [f"{score} %" for score in said]
        assert [float(key) for key in re.findall(r'data-key="([^"]+)"', row)] == pytest.approx(
            [scores["unet"], scores["sharp_unet"], scores["sharp_unet"] - scores["unet"]]
        )
    assert "python -m launch.cv --config=demo.py" in html
    assert "&#34;protocol&#34;: &#34;paper&#34;" in html
    assert "<strong>75.89 ± 2.06</strong>" in html
    assert html.count("A note &lt;with&gt; <code>code</code>.") == 1  # two tables have it
    assert html.count("Protocol: none.") == 1
    assert '<p class="author">By <strong>me</strong>.</p>' in html


def test_classes_have_the_colours_of_the_palette(html):
    (colours,) = re.findall(r"LABELS = (\[.*?\])", html)
    assert [palette.rgb(colour) for colour in json.loads(colours)] == [
        tuple(row) for row in palette.CLASSES[:2].tolist()
    ]


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("**75.89 ± 2.06**", "75.89"),
        ("-3.10", "-3.10"),
        ("+1.2", "1.2"),
        ("<0.001", "0.001"),
        (7, "7"),
        ("-", ""),
        ("unet", ""),
    ],
)
def test_cells_are_sorted_by_their_first_number(cell, key):
    assert page.sort_key(cell) == key


def test_the_page_names_what_is_missing(tmp_path, sweep):
    nothing_kept = whole.sweep(tmp_path / "a", squares(n=8), repeats=1)
    for path in (tmp_path / "a").rglob("predictions.npz"):
        path.unlink()
    moved = whole.sweep(tmp_path / "b", squares(n=8), repeats=1)
    (tmp_path / "b" / "prepared").rename(tmp_path / "b" / "elsewhere")
    unfinished = whole.sweep(tmp_path / "c", squares(n=8), repeats=1)
    for run in unfinished.config["models"]:
        for path in (tmp_path / "c" / "runs" / run).rglob("record.json"):
            path.unlink()
    html = render(nothing_kept, moved, unfinished)
    assert html.count("the sweep kept none") == 1
    assert html.count("the prepared images are not where they were for the sweep") == 1
    assert html.count("No run of this sweep is finished yet.") == 1
    assert html.count("there is no environment.json") == 3


def test_a_page_of_too_many_pictures_says_how_many_it_has(monkeypatch, sweep):
    monkeypatch.setattr(thumbnails, "BUDGET", 1500)
    html = render(sweep)
    number = len(data(html)["pictures"])
    assert 0 < number < 8
    assert f"This page holds pictures of {number} of 8 images" in html


@pytest.fixture(scope="module")
def tab(tmp_path_factory, html):
    if not browser.CHROMIUM:
        pytest.skip("there is no chromium here: apt-get install chromium")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        tab = stack.enter_context(browser.tab())
        tab.resize(390, 844)
        tab.open(path)
        yield tab


def column(tab, table, number):
    return tab.run(f"[...document.querySelectorAll('{table} tbody tr')].map(row => row.cells[{number}].textContent)")


def test_the_page_fits_a_phone(tab):
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    assert tab.run("document.querySelectorAll('.chart path').length") == 4  # a line and a band a model


def test_a_browser_sorts(tab):
    click = "document.querySelector('#tables thead th:nth-child({}) button').click()"
    order = "document.querySelector('#tables thead th:nth-child({})').getAttribute('aria-sort')"
    tab.run(click.format(2))
    assert tab.run(order.format(2)) == "descending"
    assert column(tab, "#tables", 0) == ["b", "c", "a"]  # cells without a number come last
    tab.run(click.format(2))
    assert tab.run(order.format(2)) == "ascending"
    assert column(tab, "#tables", 0) == ["c", "b", "a"]
    tab.run(click.format(1))
    assert tab.run(order.format(2)) is None
    assert column(tab, "#tables", 0) == ["a", "b", "c"]
    tab.run("document.querySelector('table.images thead th:nth-child(4) button').click()")
    scores = [float(score) for score in column(tab, "table.images", 3)]
    assert scores == sorted(scores)


def test_a_browser_filters(tab, sweep):
    def filtered(name, value):
        tab.run(
            f"{{const box = document.querySelector('[name={name}]'); box.value = '{value}';"
            "box.dispatchEvent(new Event('input', {bubbles: true}));}"
        )
        return tab.run("document.querySelectorAll('table.images tbody tr:not([hidden])').length")

    assert filtered("find", "003") == 1
    assert filtered("find", "G1") == 2  # the group of 002 and 003
    assert filtered("find", "") == 8
    scores = 100 * figures.by_image(sweep).min(axis=1)
    assert filtered("most", int(scores.median())) == (scores <= int(scores.median())).sum()
    assert filtered("most", "") == 8


def test_a_browser_opens_an_overlay_by_keys_alone(tab, sweep):
    tab.run("document.querySelector('.open[data-image=\"002\"]').focus()")
    tab.press("Enter")
    assert tab.run("document.querySelector('dialog').open")
    assert tab.run("document.getElementById('dialog-title').textContent").startswith("002 ")
    shown = """(async () => {
        const canvases = () => [...document.querySelectorAll('.panels canvas')];
        while (canvases().length < 3 || canvases().some(canvas => canvas.width === 300) /* a new canvas */)
            await new Promise(resolve => setTimeout(resolve, 10));
        return canvases().map(canvas => {
            const zoom = canvas.width / 24, {width, height} = canvas;
            const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
            const inside = i => Math.floor((i + .5) * zoom), at = (x, y) => 4 * (inside(y) * width + inside(x));
            const middle = (x, y) => [...pixels.slice(at(x, y), at(x, y) + 4)];
            return Array.from({length: 16}, (_, y) => Array.from({length: 24}, (_, x) => middle(x, y)));
        });
    })()"""
    truth, plain, _ = np.array(tab.run(shown))[..., :3]
    _, masks, rows = sweep.prepared
    difference = plain.astype(int) - truth
    painted = np.abs(difference).max(axis=-1) > 20
    wrong = overlays.errors(masks[rows["002"]], overlays.predictions(sweep)["unet"]["002"].labels)
    np.testing.assert_array_equal(painted, wrong[palette.FALSE_POSITIVE] | wrong[palette.FALSE_NEGATIVE])
    blue = difference[..., 2] > difference[..., 0]
    np.testing.assert_array_equal(blue[painted], wrong[palette.FALSE_NEGATIVE][painted])
    tab.press("ArrowRight")
    assert not tab.run("document.getElementById('dialog-title').textContent").startswith("002 ")
    tab.press("Escape")
    assert not tab.run("document.querySelector('dialog').open")
    assert tab.run("document.activeElement.dataset.image") == "002"


def test_a_browser_opens_the_large_pictures_and_turns_to_the_next(tab):
    tab.run("document.querySelector('.case svg').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    shown = tab.run("document.getElementById('dialog-title').textContent")
    first, second = (tab.run(f"document.querySelectorAll('.case .open')[{n}].dataset.image") for n in (0, 1))
    assert shown.startswith(f"{first} (1 of ")
    tab.press("ArrowRight")
    assert tab.run("document.getElementById('dialog-title').textContent").startswith(f"{second} (2 of ")
    tab.press("Escape")


def test_wide_tables_say_on_a_phone_that_they_scroll(tab):
    wide = "[...document.querySelectorAll('main .scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    hints = f"{wide}.map(one => getComputedStyle(one.previousElementSibling).display)"
    frame = "await new Promise(requestAnimationFrame);"  # the page looks at sizes after the first
    shown = f"(async () => {{ {frame} {frame} return {hints}; }})()"
    assert {*tab.run(shown)} == {"block"}
    assert tab.run("document.querySelector('nav ul').classList.contains('more')")  # the menu fades where it goes on
    assert tab.run("document.querySelectorAll('.hint').length") == tab.run(
        "document.querySelectorAll('main .scroll').length"
    )


def test_print_has_the_pictures_whole_and_no_arrows(tab):
    tab.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert tab.run("document.querySelectorAll('.case image').length") >= 6
        assert tab.run("getComputedStyle(document.querySelector('thead button'), '::after').content") == "none"
        assert tab.run("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert tab.run("getComputedStyle(document.querySelector('.tall')).maxHeight") == "none"
        assert tab.run("getComputedStyle(document.querySelector('.case')).breakInside") == "avoid"
    finally:
        tab.send("Emulation.setEmulatedMedia", media="")


def test_a_browser_reads_curves_out_by_keys(tab):
    tab.run("document.querySelector('.chart').focus()")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    assert "Epoch 2, validation Jaccard in %: unet 20.5 ± 0.707; sharp_unet" in tab.run(
        "document.querySelector('.readout').textContent"
    )


def test_a_browser_follows_the_system_and_the_button(tab):
    background = "getComputedStyle(document.body).backgroundColor"
    light = tab.run(background)
    tab.resize(390, 844, dark=True)
    dark = tab.run(background)
    assert dark != light
    tab.run("document.getElementById('theme').click()")
    assert tab.run(background) == light


def test_a_browser_has_nothing_to_complain_of_and_asks_for_nothing_else(tab):
    assert tab.complaints == []
    (address,) = (url for url in tab.requests if not url.startswith("data:"))
    assert address.endswith("/report.html")


def test_a_browser_shows_an_epoch_that_stands_alone(tmp_path):
    """A single epoch is drawn as a point, as a line of one point is invisible."""
    if not browser.CHROMIUM:
        pytest.skip("there is no chromium here: apt-get install chromium")
    whole.sweep(tmp_path, folds=2, repeats=1)
    for path in tmp_path.glob("runs/*/*/metrics.jsonl"):
        path.write_text(path.read_text().splitlines(keepends=True)[0])
        edit_record(path.with_name("record.json"), epochs=1, capped=False)
    follow(tmp_path)
    (page_path := tmp_path / "report.html").write_text(render(records.load(tmp_path)), encoding="utf-8")
    with browser.tab() as tab:
        tab.open(page_path)
        assert tab.run("document.querySelectorAll('.chart circle').length") == 2
        tab.run("[...document.querySelectorAll('.curves input')].find(box => !box.checked).click()")
        assert tab.run("document.querySelectorAll('.chart circle').length") == 2 + 4
        assert tab.complaints == []


def test_a_browser_marks_no_point_of_a_line(tab):
    assert tab.run("document.querySelectorAll('.chart circle').length") <= 2  # the cursor's
