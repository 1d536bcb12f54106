"""``patchrerank demo``: what a newcomer reads in the terminal and on the page."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from tests.helpers.command_line import run

from later import later
from patchrerank.datasets import composite, shipped_photos
from patchrerank.datasets.composite import CompositeConfig
from shipped import copied_photos

later("skimage")
later("sklearn")


@pytest.fixture(
    scope="module", params=[64, *(pytest.param(n, marks=pytest.mark.slow) for n in (96, 128))]
)
def demo(request, tmp_path_factory):
    """The JSON record, the terminal's text and the page; in smaller pictures than usual, too.

    In the smallest there are fewer of them than in what a newcomer sees.
    """
    size = ["--image-size", request.param]
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patched:
        if request.param == 64:
            few = CompositeConfig(positives=3, distractors=12)
            patched.setattr(composite, "CompositeConfig", lambda **usual: few)
            patched.setattr(shipped_photos, "copy_shipped_photos", copied_photos)
        record = json.loads(run("demo", out, *size, "--json", "--quiet").stdout)
        terminal = run("demo", out, *size, "--quiet").stdout
    return record, terminal, (out / "report.html").read_text(encoding="utf-8")


def texts(page, pattern):
    return [unescape(re.sub("<[^>]*>", "", found)) for found in re.findall(pattern, page, re.S)]


def gains(page):
    main = page.partition("<main>")[2]
    return [float(gain) for gain in re.findall(r'data-gain="([^"]*)"', main)]


def test_the_first_sentence_agrees_with_the_table_and_the_queries(demo):
    record, terminal, page = demo
    (sentence,) = texts(page, r'<p class="result">(.*?)</p>')
    assert sentence == record["result"] == terminal.splitlines()[0]
    rows = [texts(row, r"<t[hd][^>]*>(.*?)</t[hd]>") for row in re.findall("<tr>.*?</tr>", page)]
    assert rows[0][:2] == ["method", "mAP"]
    (first, before), (last, after) = (row[:2] for row in rows[1:])
    found = gains(page)
    better, worse = sum(gain > 0 for gain in found), sum(gain < 0 for gain in found)
    assert sentence == (
        f"{first} {before} → {last} {after} mAP: {better or 'none'} of {len(found)} queries "
        f"better, {worse or 'none'} worse."
    )
    assert float(after) > float(before) and better > worse
    assert page.index(sentence) < page.index("<table>")


def test_the_terminal_and_the_page_name_the_methods_alike(demo):
    record, terminal, page = demo
    names = list(record["methods"])
    assert texts(page, r'<th scope="row"[^>]*>(.*?)</th>') == names
    assert re.findall(r"^│ (\w+) +│", terminal, re.M) == names
    assert set(texts(page, r"<h3>(.*?)<span")) == set(names)


def test_queries_stand_by_gain_under_the_names_of_their_objects(demo):
    page = demo[2]
    assert gains(page) == sorted(gains(page), reverse=True)
    main = page.partition("<main>")[2]
    assert {"cat", "cup", "dahlia"} <= set(re.findall(r'data-id="(\w+)"', main))


def test_it_opens_with_the_query_that_gains_most(demo):
    before, _, after = demo[2].partition("<main>")
    (opened,) = re.findall(r'<section class="opening query" data-id="(\w+)">', before)
    assert opened == re.search(r'data-id="(\w+)"', after).group(1)
    methods = re.findall(r'<div class="method">.*?</ol>', before, re.S)
    counts = [int(c) for c in re.findall(r"(\d) of the first 5 right", before)]
    assert [len(re.findall('class="hit right"', method)) for method in methods] == counts
    assert counts[0] < counts[1]


def test_the_settings_are_folded(demo):
    assert re.findall("<details[^>]*>", demo[2]) == ['<details class="card settings">']


def test_no_box_goes_around_a_whole_picture(demo):
    sizes = re.findall(r'<rect [^>]*width="([^"]*)" height="([^"]*)"', demo[2])
    assert len(sizes) > 100
    assert ("100", "100") not in sizes


def test_the_scores_are_cosines(demo):
    """A sigmoid of a cosine would lie above 0.26, and between 0.5 and 0.73 for a positive one."""
    scores = [float(text) for text in texts(demo[2], r'<span class="score">(.*?)</span>')]
    assert max(scores) <= 1
    assert min(scores) < 0.26 and max(scores) > 0.74
