"""The page in a real browser, on demand: ``pytest -m slow tests/report``; needs Chromium.

A script is added to the page, and its digest to the policy, which stays in force: what the script
reports is what a reader sees.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from PIL import Image, ImageDraw

from patchrerank.report import ReportColumn, ReportHit, ReportQuery, write_report
from patchrerank.report.selection import QueryChoice, choose_queries

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]

PINK = (255, 0, 255)
FOUND, TRUE = (0.25, 0.5, 0.75, 0.9), (0.5, 0.1, 1.0, 0.4)
WIDTH, HEIGHT = 1400, 2400

PROBE = """
(async function () {
  const all = (selector, from) => Array.from((from || document).querySelectorAll(selector));
  const place = (element) => {
    const at = element.getBoundingClientRect();
    return [at.left, at.top, at.right, at.bottom];
  };
  const boxes = (pic) => all("rect:not(.halo)", pic)
    .map((rect) => ({ kind: rect.getAttribute("class"), place: place(rect) }));
  const seen = () => all("main .query").filter((q) => q.offsetParent).map((q) => q.dataset.id);
  const found = { pictures: [], filters: {}, sorted: {} };
  for (const pic of all(".pic")) {
    const image = new Image();
    await new Promise((done, fail) => {
      image.onload = done;
      image.onerror = () => fail(new Error("a picture does not load"));
      image.src = getComputedStyle(pic).backgroundImage.slice(5, -2);
    });
    found.pictures.push({
      size: [image.naturalWidth, image.naturalHeight], place: place(pic), boxes: boxes(pic),
      frame: place(pic.closest(".frame")),
    });
  }
  for (const choice of all("input[name=show]")) {
    choice.click();
    found.filters[choice.value] = seen();
    found.shown = document.querySelector(".shown").textContent;
  }
  all("input[name=show]")[0].click();
  const text = document.querySelector("input[type=search]");
  text.value = "Q1";
  text.dispatchEvent(new Event("input", { bubbles: true }));
  found.searched = seen();
  text.value = "";
  text.dispatchEvent(new Event("input", { bubbles: true }));
  const sort = document.querySelector("select[name=sort]");
  for (const order of ["best", "worst", "given"]) {
    sort.value = order;
    sort.dispatchEvent(new Event("input", { bubbles: true }));
    found.sorted[order] = seen();
  }
  const zoom = document.querySelector(".zoom");
  found.zoom = [zoom.open];
  document.querySelector(".hit .frame").click();
  found.zoom.push(zoom.open);
  found.enlarged = all(".pic", zoom).map((pic) => ({ place: place(pic), boxes: boxes(pic) }));
  found.captions = all("figcaption", zoom).map((caption) => caption.textContent);
  zoom.querySelector(".next").click();
  found.next = all("figcaption", zoom).map((caption) => caption.textContent);
  zoom.querySelector(".close").click();
  found.zoom.push(zoom.open);
  return found;
})().catch((error) => ({ error: String(error.stack) })).then((found) => {
  const sign = document.createElement("pre");
  sign.id = "found";
  sign.hidden = true;
  sign.textContent = JSON.stringify(found);
  document.body.append(sign);
});
"""


def picture(size, box):
    """White, with a pink patch where the box says."""
    made = Image.new("RGB", size, "white")
    x0, y0, x1, y1 = (side * size[n % 2] for n, side in enumerate(box))
    ImageDraw.Draw(made).rectangle((x0, y0, x1 - 1, y1 - 1), fill=PINK)
    return made


@pytest.fixture(scope="module")
def queries():
    wide, tall = picture((200, 100), FOUND), picture((100, 200), FOUND)
    hits = (
        ReportHit("right", wide, 0.9, True, FOUND, (TRUE,)),
        ReportHit("wrong", tall, 0.8, False, FOUND),
    )
    gains = [0.3, -0.2, 0.1, 0.0, None]
    return choose_queries(
        [
            ReportQuery(
                f"q{n}",
                wide,
                FOUND,
                (
                    ReportColumn("global", 0.5, hits[:1]),
                    ReportColumn("patchify", None if gain is None else 0.5 + gain, hits),
                ),
            )
            for n, gain in enumerate(gains)
        ],
        QueryChoice(1, 1, 3),
    )


@pytest.fixture(scope="module")
def page(queries, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(path, title="t", queries=queries, tables=[], settings={})


@pytest.fixture(scope="module")
def seen(page):
    return probe(page)


def probe(page):
    """Return what the script of this test found on the page."""
    source = page.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    source = source.replace("script-src ", f"script-src 'sha256-{digest}' ")
    source = source.replace("</body>", f"<script>{PROBE}</script></body>")
    probed = page.with_name("probed.html")
    probed.write_text(source, encoding="utf-8")
    dom = browse(probed, "--dump-dom", "--virtual-time-budget=10000")
    found = json.loads(unescape(re.search(r'<pre id="found"[^>]*>(.*?)</pre>', dom).group(1)))
    assert "error" not in found, found
    return found


def browse(path, *options, blocked=False):
    """Return what Chromium prints; check whether the page's policy blocked anything."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--force-device-scale-factor=1", "--enable-logging=stderr",
        f"--window-size={WIDTH},{HEIGHT}", *options, path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    refused = [line for line in done.stderr.splitlines() if "Content Security Policy" in line]
    assert bool(refused) is blocked, refused
    return done.stdout


def expected(place, box):
    left, top, right, bottom = place
    across, down = right - left, bottom - top
    return [
        left + box[0] * across,
        top + box[1] * down,
        left + box[2] * across,
        top + box[3] * down,
    ]


def test_pictures_load_in_their_shape(seen, queries):
    assert len(seen["pictures"]) == len(queries) * 4
    for number, shown in enumerate(seen["pictures"]):
        assert shown["size"] == ([100, 200] if number % 4 == 3 else [200, 100])
        left, top, right, bottom = shown["place"]
        shape = shown["size"][0] / shown["size"][1]
        assert (right - left) / (bottom - top) == pytest.approx(shape, rel=0.01)
        frame = shown["frame"]
        assert frame[0] < left and frame[1] < top and frame[2] > right and frame[3] > bottom
        longest = max(right - left, bottom - top)
        assert longest == pytest.approx(frame[2] - frame[0] - 6, abs=0.6)


def test_boxes_lie_where_they_belong(seen):
    kinds = [["query-box"], ["truth", "predicted"], ["truth", "predicted"], ["predicted"]]
    where = {"query-box": FOUND, "predicted": FOUND, "truth": TRUE}
    for number, shown in enumerate(seen["pictures"]):
        assert [box["kind"] for box in shown["boxes"]] == kinds[number % 4]
        for box in shown["boxes"]:
            wanted = expected(shown["place"], where[box["kind"]])
            np.testing.assert_allclose(box["place"], wanted, atol=0.5)


def test_the_pixels_agree(page, seen, tmp_path):
    """The yellow box stands around the pink patch, and the frames have their colours."""
    browse(page, f"--screenshot={tmp_path / 's.png'}")
    pixels = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).astype(int)
    for shown in seen["pictures"][1:4]:
        left, top, right, bottom = (round(side) for side in shown["place"])
        part = pixels[top:bottom, left:right]
        pink = (np.abs(part - PINK).max(axis=-1) < 60).nonzero()
        yellow = (np.abs(part - [255, 210, 31]).max(axis=-1) < 60).nonzero()
        scale = [bottom - top, right - left] * 2
        spans = [(found.min(), found.max() + 1) for found in (*pink, *yellow)]
        for n, (low, high) in enumerate(spans):
            first, last = (FOUND[1], FOUND[3]) if n % 2 == 0 else (FOUND[0], FOUND[2])
            assert abs(low - first * scale[n]) <= 4 and abs(high - last * scale[n]) <= 4
    for shown, colour in (
        (seen["pictures"][1], [21, 127, 74]),
        (seen["pictures"][3], [198, 53, 42]),
    ):
        left, top, _, bottom = shown["frame"]
        at = pixels[round((top + bottom) / 2), round(left) + 1]
        assert np.abs(at - colour).max() < 12


def test_the_filter_shows_what_it_says(seen):
    assert seen["filters"] == {
        "all": ["q0", "q1", "q2", "q3", "q4"],
        "gains": ["q0"],
        "losses": ["q1"],
        "sample": ["q2", "q3", "q4"],
        "gained": ["q0", "q2"],
        "lost": ["q1"],
    }
    assert seen["shown"] == "1 of 5 queries"
    assert seen["searched"] == ["q1"]
    assert seen["sorted"] == {
        "best": ["q0", "q2", "q3", "q1", "q4"],
        "worst": ["q1", "q3", "q2", "q0", "q4"],
        "given": ["q0", "q1", "q2", "q3", "q4"],
    }


def test_zoom_shows_query_and_hit_with_their_boxes(seen):
    assert seen["zoom"] == [False, True, False]
    assert seen["captions"][0] == "Query q0"
    assert seen["captions"][1].startswith("✓ right, rank 1")
    assert seen["next"][1].startswith("✓ right, rank 1")
    asked, hit = seen["enlarged"]
    assert hit["place"][2] - hit["place"][0] > 300
    for box, wanted in zip(
        [*asked["boxes"], *hit["boxes"]],
        [expected(asked["place"], FOUND), *(expected(hit["place"], b) for b in (TRUE, FOUND))],
        strict=True,
    ):
        np.testing.assert_allclose(box["place"], wanted, atol=0.5)


def test_the_page_itself_runs_under_its_policy(page):
    dom = browse(page, "--dump-dom")
    assert '<output class="shown">5 of 5 queries</output>' in dom


def test_a_script_that_was_put_in_is_blocked(page):
    bad = page.with_name("bad.html")
    source = page.read_text(encoding="utf-8")
    put_in = "<script>document.title = 'gone'</script><style>h1 { color: red }</style></body>"
    bad.write_text(source.replace("</body>", put_in), encoding="utf-8")
    assert "<title>t</title>" in browse(bad, "--dump-dom", blocked=True)


def test_the_large_pair_can_be_enlarged_and_is_not_counted_as_a_query(queries, seen, tmp_path):
    path = tmp_path / "opened.html"
    write_report(path, title="t", queries=queries, tables=[], settings={}, result="So it is.")
    found = probe(path)
    assert len(found["pictures"]) == len(seen["pictures"]) + 4
    assert found["pictures"][0]["place"][1] < found["pictures"][4]["place"][1]
    for key in ("filters", "sorted", "searched", "zoom", "captions"):
        assert found[key] == seen[key]
