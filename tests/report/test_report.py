"""The page is taken apart with the standard library's parser and checked piece by piece."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchrerank.errors import ImageError, RegionError, SettingError
from patchrerank.report import ReportColumn, ReportHit, ReportQuery, ReportTable, write_report
from patchrerank.report.markup import query_section
from patchrerank.report.pictures import PictureSheet

ODD = "<script>alert('x')</script>\"'&amp; 查询 $title ${x} </style>"
VOID = {"meta", "link", "input", "rect", "br", "img"}


class Page(HTMLParser):
    """All elements as (tag, attributes, path of open tags), and the text inside each tag."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        return [
            attrs
            for found, attrs in self.elements
            if found == tag and (not name or name in (attrs.get("class") or "").split())
        ]

    def text(self, tag: str) -> list[str]:
        return [data for found, data in self.texts if found == tag]


def picture(seed: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def hit(name: str, image, correct: bool | None = True, predicted=None, truths=()) -> ReportHit:
    return ReportHit(name, image, 0.5, correct, predicted, truths)


def query(name: str, first: float | None, last: float | None, hits=()) -> ReportQuery:
    columns = (ReportColumn("Global", first, hits), ReportColumn("Patchify", last, hits))
    return ReportQuery(name, picture(99), (0.1, 0.2, 0.6, 0.9), columns)


def written(folder: Path, queries, *, title="Report", tables=(), settings=None, **more) -> str:
    path = write_report(
        folder / "page.html",
        title=title,
        queries=queries,
        tables=tables,
        settings=settings or {},
        **more,
    )
    return path.read_text(encoding="utf-8")


def rules(source: str) -> dict[str, str]:
    return dict(re.findall(r"^(?:<style>)?\.(p\d+)\{(.*?)\}", source, flags=re.MULTILINE))


def test_structure(tmp_path):
    hits = (hit("a", picture(0)), hit("b", picture(1), False), hit("c", picture(2), None))
    table = ReportTable("Metrics", ("Method", "mAP"), (("Global", "0.5"),), "AP over all.")
    page = Page(
        written(
            tmp_path,
            [query("q0", 0.25, 0.75, hits), query("q1", 0.5, 0.4, hits)],
            title="A title",
            tables=[table],
            settings={"lam": "0.3"},
        )
    )
    assert page.open == []
    assert page.text("h1") == page.text("title") == ["A title"]
    assert {"Metrics", "Settings", "Global", "Patchify"} <= {text for _, text in page.texts}
    assert "AP over all." in page.text("p")
    assert page.text("dt") == ["lam"] and page.text("dd") == ["0.3"]
    assert [q["data-id"] for q in page.all("section", "query")] == ["q0", "q1"]
    assert [q["data-gain"] for q in page.all("section", "query")] == ["0.500000", "-0.100000"]
    assert len(page.all("li", "hit")) == 12
    verdicts = [hit["class"] for hit in page.all("li", "hit")[:3]]
    assert verdicts == ["hit right", "hit wrong", "hit unknown"]
    spans = page.text("span")
    assert [s for s in spans if s in "✓✗?"][:3] == ["✓", "✗", "?"]
    assert "AP 0.750 (+0.500)" in spans and "AP 0.400 (−0.100)" in spans
    assert page.text("b")[:3] == ["1", "2", "3"]
    assert [frame["title"] for frame in page.all("button", "frame")[1:4]] == ["a", "b", "c"]


def test_counts_of_gained_and_lost_ignore_differences_that_read_zero(tmp_path):
    aps = [(0.1, 0.2), (0.2, 0.1), (0.2, 0.2004), (0.2, 0.3), (None, 0.3)]
    page = Page(written(tmp_path, [query(f"q{n}", *ap) for n, ap in enumerate(aps)]))
    gains = [q["data-gain"] for q in page.all("section", "query")]
    assert gains == ["0.100000", "-0.100000", "0.000000", "0.100000", ""]
    counts = [text for text in page.text("span") if text.isdigit()][:3]
    assert counts == ["5", "2", "1"]


def test_every_text_is_escaped(tmp_path):
    hits = (hit(ODD, picture(0)),)
    columns = (ReportColumn(ODD, 0.5, hits),)
    table = ReportTable(ODD, (ODD, ODD), ((ODD, ODD),), ODD)
    source = written(
        tmp_path,
        [ReportQuery(ODD, picture(1), None, columns)],
        title=ODD,
        tables=[table],
        settings={ODD: ODD},
    )
    page = Page(source)
    assert page.open == []
    assert len(page.all("script")) == 1 and len(page.all("style")) == 2
    assert page.all("section", "query")[0]["data-id"] == ODD
    assert page.all("li", "hit")[0]["data-hit"] == ODD
    assert page.all("button", "frame")[1]["title"] == ODD
    for tag in ("title", "h1", "bdi", "h3", "dt", "dd", "td"):
        assert "".join(page.text(tag)).startswith(ODD), tag


def test_ids_that_are_no_valid_unicode_do_not_break_the_page(tmp_path):
    source = written(tmp_path, [query("q\udc80", 0.1, 0.2, (hit("h\udcff", picture(0)),))])
    assert Page(source).all("section", "query")[0]["data-id"] == "q?"


def test_boxes_stand_where_they_belong(tmp_path):
    truths = ((0.5, 0.25, 0.75, 1.0), (0.0, 0.0, 0.1, 0.2))
    found = hit("a", picture(0), True, (0.25, 0.1, 0.5, 0.6), truths)
    page = Page(written(tmp_path, [query("q", 0.1, 0.2, (found,))]))

    def drawn(kind: str) -> list[list[float]]:
        numbers = [[float(r[k]) for k in ("x", "y", "width", "height")] for r in page.all("rect")]
        kinds = [r["class"] for r in page.all("rect")]
        return [n for n, k in zip(numbers, kinds, strict=True) if k == kind][1:]  # 0 is the legend

    np.testing.assert_allclose(drawn("query-box"), [[10, 20, 50, 70]])
    np.testing.assert_allclose(drawn("predicted"), [[25, 10, 25, 50]] * 2)
    np.testing.assert_allclose(drawn("truth"), [[50, 25, 25, 75], [0, 0, 10, 20]] * 2)
    overlays = [svg for svg in page.all("svg") if "preserveaspectratio" in svg]
    assert all(svg["preserveaspectratio"] == "none" for svg in overlays)
    assert {svg["viewbox"] for svg in overlays} == {"0 0 100 100"}


@given(
    st.tuples(*[st.integers(0, 998)] * 2, *[st.integers(1, 1000)] * 2).map(
        lambda v: (v[0] / 1000, v[1] / 1000, min(v[0] + v[2], 1000) / 1000, (v[1] + 1) / 1000)
    )
)
def test_rectangles_give_back_any_box(box):
    image = picture(0, (4, 4))
    sheet = PictureSheet(32)
    sheet.add(image, "here")
    source = query_section(1, ReportQuery("q", image, box, ()), sheet)
    rect = Page(source).all("rect", "query-box")[0]
    x, y, width, height = (float(rect[key]) / 100 for key in ("x", "y", "width", "height"))
    np.testing.assert_allclose((x, y, x + width, y + height), box, atol=1e-6)


def test_a_box_around_the_whole_picture_is_not_drawn(tmp_path):
    whole = hit("a", picture(0), True, (0.0, 0.0, 1.0, 1.0), ((0.0, 0.0, 1.0, 0.9995),))
    nearly = hit("b", picture(1), True, (0.0, 0.0, 1.0, 0.99))
    columns = (ReportColumn("Global", 0.1, (whole, nearly)),)
    asked = ReportQuery("q", picture(99), (0.0, 0.0, 1.0, 1.0), columns)
    page = Page(written(tmp_path, [asked]))
    legend, drawn = 6, [r for r in page.all("rect") if r["height"] == "99"]
    assert len(page.all("rect")) == legend + 2
    assert [r["class"] for r in drawn] == ["halo", "predicted"]


def test_the_page_opens_with_the_result_and_the_largest_gain(tmp_path):
    hits = tuple(hit(f"h{n}", picture(n), n % 2 == 0) for n in range(7))
    asked = [query("q0", 0.2, 0.3, hits), query("q1", 0.1, 0.9, hits), query("q2", None, 0.3)]
    source = written(tmp_path, asked, result="<i> 1 → 2")
    before, _, after = source.partition("<main>")
    opened, rest = Page(before), Page(after.partition("</main>")[0])
    assert "<i> 1 → 2" in opened.text("p")
    assert [part["data-id"] for part in opened.all("section", "opening")] == ["q1"]
    assert len(opened.all("li", "hit")) == 10
    assert opened.text("span").count("3 of the first 5 right") == 2
    assert [part["data-id"] for part in rest.all("section", "query")] == ["q0", "q1", "q2"]


def test_without_a_gain_the_result_stands_alone_and_without_a_result_nothing(tmp_path):
    asked = [query("q0", 0.3, 0.2), query("q1", 0.3, 0.3), query("q2", None, None)]
    page = Page(written(tmp_path, asked, result="So it is."))
    assert "So it is." in page.text("p") and not page.all("section", "opening")
    gained = [query("q0", 0.1, 0.2)]
    page = Page(written(tmp_path, gained))
    assert not page.all("p", "result") and not page.all("section", "opening")


def test_settings_are_folded(tmp_path):
    page = Page(written(tmp_path, [], settings={"lam": "0.3"}))
    (folded,) = page.all("details")
    assert "open" not in folded and page.text("summary") == ["Settings"]


def test_each_picture_is_stored_once(tmp_path):
    path = tmp_path / "one.png"
    picture(0).save(path)
    shared = picture(1)
    hits = (
        hit("a", path),
        hit("b", Path(path)),
        hit("c", shared),
        hit("d", shared),
        hit("e", picture(1)),  # another object with the same pixels
    )
    source = written(tmp_path, [query("q0", 0.1, 0.2, hits), query("q1", 0.1, 0.2, hits)])
    assert source.count("data:image/jpeg;base64,") == 3 == len(rules(source))
    worn = [span["class"].split()[1] for span in Page(source).all("span", "pic")]
    assert worn == ["p0", *["p1", "p1", "p2", "p2", "p2"] * 2] * 2
    assert set(worn) == set(rules(source))


@pytest.mark.parametrize(("size", "small"), [((400, 200), (100, 50)), ((90, 180), (50, 100))])
def test_thumbnails_keep_the_aspect_ratio(tmp_path, size, small):
    bare = ReportQuery("q", picture(0, size), None, ())
    (rule,) = rules(written(tmp_path, [bare], thumbnail=100)).values()
    data = re.search(r"base64,([^)]*)\)", rule).group(1)
    stored = Image.open(io.BytesIO(base64.b64decode(data)))
    assert stored.format == "JPEG" and stored.size == small
    share = 100 * small[0] / max(small)
    assert rule.startswith(f"width:{share:g}%;aspect-ratio:{small[0]}/{small[1]};")


def test_pictures_stand_upright_and_small_ones_are_kept(tmp_path):
    image = picture(0, (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    bare = ReportQuery("q", tmp_path / "turned.jpg", None, ())
    (rule,) = rules(written(tmp_path, [bare])).values()
    assert "aspect-ratio:20/30;" in rule


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    page = Page(written(tmp_path, [query("q", 0.1, 0.2, (hit("a", picture(0)),))]))
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|src=", re.sub(r"base64,[^)]*", "", source))
    assert [attrs["href"] for _, attrs in page.elements if "href" in attrs] == ["data:,"]
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert not any("style" in attrs for _, attrs in page.elements)


def test_policy_admits_the_pages_own_script_and_styles_alone(tmp_path):
    source = written(tmp_path, [query("q", 0.1, 0.2, (hit("a", picture(0)),))])
    page = Page(source)
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'" and directives["img-src"] == "data:"
    for tag in ("script", "style"):
        bodies = re.findall(f"<{tag}>(.*?)</{tag}>", source, flags=re.DOTALL)
        digests = (hashlib.sha256(body.encode()).digest() for body in bodies)
        expected = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
        assert directives[f"{tag}-src"].split() == expected


def test_only_the_first_ten_hits_are_shown_and_read(tmp_path):
    hits = [hit(f"h{n}", picture(n)) for n in range(10)]
    beyond = hit("h10", tmp_path / "absent.png")
    page = Page(written(tmp_path, [query("q", 0.1, 0.2, (*hits, beyond))]))
    assert [li["data-hit"] for li in page.all("li", "hit")] == [f"h{n}" for n in range(10)] * 2


def test_moves_against_the_first_method(tmp_path):
    a, b, c, d = (hit(name, picture(0)) for name in "abcd")
    columns = (ReportColumn("Global", None, (a, b, c)), ReportColumn("Other", None, (c, b, a, d)))
    page = Page(written(tmp_path, [ReportQuery("q", picture(1), None, columns)]))
    shifts = [text for text in page.text("span") if text[0] in "↑↓=n" and len(text) < 4]
    assert shifts == ["↑2", "=", "↓2", "new"]


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.12345, "0.1235"), (1234.5678, "1234.6"), (-np.inf, "−∞"), (float("nan"), "–")],
)
def test_scores(tmp_path, score, text):
    shown = replace(hit("a", picture(0)), score=score)
    assert text in Page(written(tmp_path, [query("q", 0.1, 0.2, (shown,))])).text("span")


def test_empty_reports_are_pages_too(tmp_path):
    assert "No queries." in Page(written(tmp_path, [])).text("p")
    bare = [query("q", None, None), ReportQuery("r", picture(0), None, ())]
    page = Page(written(tmp_path, bare, tables=[ReportTable("t", ("a",), (), "")]))
    assert page.text("p").count("No hits.") == 2
    assert [q["data-gain"] for q in page.all("section", "query")] == ["", ""]


def test_a_missing_picture_is_named_and_nothing_is_left(tmp_path):
    bad = query("q7", 0.1, 0.2, (hit("h1", tmp_path / "absent.png"),))
    with pytest.raises(ImageError, match=r"hit 'h1' of 'Global' for query 'q7': .*absent\.png"):
        written(tmp_path, [bad])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImageError, match=r"query 'q8': .*gone\.jpg"):
        written(tmp_path, [ReportQuery("q8", tmp_path / "gone.jpg", None, ())])


def test_an_old_report_survives_a_failure(tmp_path):
    before = written(tmp_path, [query("q", 0.1, 0.2)])
    bad = query("q", 0.1, 0.2, (hit("h", tmp_path / "absent.png"),))
    with pytest.raises(ImageError):
        written(tmp_path, [bad])
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_writing_where_a_folder_stands(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(SettingError, match=r"page\.html"):
        written(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_writing_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingError, match="cannot be written"):
        written(tmp_path / "file", [])


@pytest.mark.parametrize("path", ["", "."])
def test_writing_to_no_file_at_all(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match="cannot be written"):
        write_report(path, title="", queries=[], tables=[], settings={})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_and_the_same_input_gives_the_same_bytes(tmp_path):
    queries = [query("q", 0.1, 0.2, (hit("a", picture(0)),))]
    assert written(tmp_path / "x" / "y", queries) == written(tmp_path / "z", queries)


@pytest.mark.parametrize("thumbnail", [0, 31, 2049])
def test_impossible_thumbnails(tmp_path, thumbnail):
    with pytest.raises(SettingError, match=str(thumbnail)):
        written(tmp_path, [], thumbnail=thumbnail)


def test_bad_content_is_refused():
    image = picture(0)
    with pytest.raises(RegionError, match="predicted box of hit 'a'"):
        hit("a", image, True, (0.5, 0.0, 0.5, 1.0))
    with pytest.raises(RegionError, match="true boxes of hit 'a'"):
        hit("a", image, True, None, ((0.0, 0.0, 12.0, 30.0),))
    with pytest.raises(RegionError, match="box of query 'q'"):
        ReportQuery("q", image, (0.0, 0.0, 0.5, float("nan")), ())
    with pytest.raises(SettingError, match=r"'Global' must lie in \[0, 1\], got 54\.3"):
        ReportColumn("Global", 54.3, ())
    with pytest.raises(SettingError, match="got nan"):
        ReportColumn("Global", float("nan"), ())
    with pytest.raises(SettingError, match="table 't': row 0 has 1 cells for 2 headers"):
        ReportTable("t", ("a", "b"), (("x",),), "")
