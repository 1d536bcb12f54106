"""``import patchrerank``: what it hands out, how lazily, and the five lines of the README."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import patchrerank
from command_line import run
from loaded_once import encoders_loaded_once
from patchrerank.errors import EncoderError, GalleryError, QueryError, SettingError
from patchrerank.pipeline import Recipe

NAMES = (
    *("Cascade", "Fusion", "Gallery", "Hit", "PatchRerankError", "Stage", "Text"),
    *("__version__", "build_gallery", "load_encoder", "load_reranker"),
)
ENCODER = "timm:test_resnet.r160_in1k"


def child(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_hands_out_the_names_and_lists_them():
    for name in NAMES:
        assert getattr(patchrerank, name) is not None
        assert name in dir(patchrerank)
    assert sorted(NAMES) == sorted(patchrerank.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = patchrerank.nothing_like_it


def test_importing_it_loads_one_module_and_nothing_heavy():
    ours = "[m for m in sys.modules if m.startswith('patchrerank')]"
    heavy = "{'torch', 'numpy', 'faiss', 'numba', 'PIL', 'optuna'} & set(sys.modules)"
    assert child(f"import sys, patchrerank; print({ours}, {heavy})") == "['patchrerank'] set()"
    code = "import sys, patchrerank; patchrerank.load_reranker; print('torch' in sys.modules)"
    assert child(code) == "False"


@pytest.mark.slow
def test_type_checkers_see_what_it_hands_out(tmp_path):
    pytest.importorskip("mypy")
    lines = [
        "import patchrerank",
        'reranker = patchrerank.load_reranker("gallery/")',
        'reveal_type(reranker.rank("query.jpg", ["a"], [0.5], top_k=10))',
        "reveal_type(patchrerank.build_gallery)",
    ]
    (tmp_path / "user.py").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "list[patchrerank.types.Hit]" in done.stdout, done.stdout
    assert "patchrerank.gallery.gallery.Gallery" in done.stdout, done.stdout


@pytest.fixture(scope="module", autouse=True)
def shared_encoders():
    with encoders_loaded_once():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory, photo_folder):
    folder = tmp_path_factory.mktemp("front") / "photos"
    folder.mkdir()
    for number in range(6):
        shutil.copy(photo_folder / f"{5 * number + 1:02d}.png", folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, photos, encoder):
    """Built otherwise than by default: the demo's image size, other regions."""
    folder = tmp_path_factory.mktemp("front") / "g"
    return patchrerank.build_gallery(folder, photos, encoder, "grid:1").folder


@pytest.fixture(scope="module")
def encoder():
    """The gallery's own, where a test is not about loading it."""
    return patchrerank.load_encoder("efficientnet_lite0", image_size=128, backend="eager")


def test_five_lines_on_a_gallery_that_was_not_built_with_defaults(gallery, photos):
    ids, scores = ["0.png", "1.png", "2.png"], [0.7, 0.6, 0.5]
    reranker = patchrerank.load_reranker(gallery)
    hits = reranker.rank(photos / "2.png", ids, scores, top_k=10)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    best = next(hit for hit in hits if hit.id == "2.png")
    assert best.local_score == pytest.approx(1.0, abs=1e-4)
    assert best.box == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.slow
def test_five_lines_on_the_demos_gallery(tmp_path):
    run("demo", tmp_path / "demo", "--quiet")
    folder = next((tmp_path / "demo" / "galleries").glob("*/manifest.json")).parent
    query = next((tmp_path / "demo" / "dataset" / "queries").iterdir())
    opened = patchrerank.Gallery(folder)
    vector = patchrerank.load_reranker(folder).encode([query]).vectors[0]
    cosines = opened.global_vectors @ vector
    best = np.argsort(-cosines)[:20]
    hits = patchrerank.load_reranker(folder).rank(
        query, [opened.ids[row] for row in best], cosines[best].tolist(), top_k=10
    )
    assert [hit.rank for hit in hits] == list(range(1, 11))
    assert all(hit.box is not None for hit in hits)


def test_the_default_weighs_the_scores_that_it_is_given(gallery):
    reranker = patchrerank.load_reranker(gallery)
    vector = np.array(reranker.gallery.global_vectors[2])
    ids = ["0.png", "1.png"]
    strong, weak = (reranker.rank(vector, ids, scores) for scores in ([0.9, 0.1], [0.5, 0.4999]))
    assert strong[0].score - strong[1].score > weak[0].score - weak[1].score


def test_no_encoder_is_loaded_for_ready_vectors(gallery, monkeypatch):
    from patchrerank import encoders

    def refuse(*_, **__):
        raise AssertionError("loaded an encoder")

    monkeypatch.setattr(encoders, "load_encoder", refuse)
    reranker = patchrerank.load_reranker(gallery, "patchify+refine:all:0.3:4")
    vector = np.array(reranker.gallery.global_vectors[3])
    assert reranker.rank(vector, ["3.png", "1.png"], [0.9, 0.8])[0].id == "3.png"
    with pytest.raises(AssertionError, match="loaded an encoder"):
        reranker.rank(b"a picture", ["3.png"])


def test_encoder_of_another_size_is_refused_when_the_reranker_is_made(gallery):
    other = patchrerank.load_encoder("efficientnet_lite0", image_size=96, backend="eager")
    with pytest.raises(QueryError, match=r"128 × 128 then, 96 × 96 now.*image_size=128"):
        patchrerank.load_reranker(gallery, encoder=other)


def test_stages_as_text_list_recipe_and_files_are_one(gallery, encoder, photos, tmp_path):
    from patchrerank.rerankers import Patchify

    text = "patchify:2:0.25:3"
    recipe = Recipe.parse(text)
    recipe.save(tmp_path / "recipe.json")
    opened = patchrerank.Gallery(gallery)
    made = [
        text,
        recipe,
        tmp_path / "recipe.json",
        str(tmp_path / "recipe.json"),
        [patchrerank.Stage(Patchify(opened), patchrerank.Fusion(0.25, 3.0, 2))],
    ]
    ids, scores = ["4.png", "0.png", "1.png"], [0.7, 0.6, 0.5]
    found = [
        patchrerank.load_reranker(gallery, stages, encoder=encoder).rank(
            photos / "1.png", ids, scores
        )
        for stages in made
    ]
    assert all(hits == found[0] for hits in found)
    again = Recipe.from_dict(json.loads(json.dumps(recipe.as_dict())))
    assert again == recipe


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (3, "a int"),
        ([], "at least one"),
        ([patchrerank.Fusion()], r"a Fusion .*use Stage"),
        ("patchfy", "did you mean patchify"),
        ("no-such.json", "cannot be read"),
        (patchrerank.Fusion(0.3), "a Fusion"),
    ],
)
def test_what_are_no_stages_is_said(gallery, stages, message):
    with pytest.raises(SettingError, match=message):
        patchrerank.load_reranker(gallery, stages)


def test_settings_beside_a_recipe_are_refused(gallery):
    with pytest.raises(SettingError, match="decides query_crop"):
        patchrerank.load_reranker(gallery, Recipe.parse("patchify"), query_crop="box")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 3}, r"images is a int \(3\); use a mapping, {gallery id: picture}"),
        ({"images": ["a.png"]}, "images is a list"),
        ({"device": 3}, "the device is a int"),
        ({"device": "gpu"}, "device 'gpu' is unknown"),
        ({"device": "cuda:x"}, "device 'cuda:x' is unknown"),
        ({"encoder": 3}, "the encoder is a int"),
        ({"query_crop": "boxes"}, r"query_crop is text \('boxes'\)"),
        ({"query_crop": 3}, "query_crop is a int"),
        ({"query_size": "big"}, "must be a whole number"),
        ({"query_size": 2.5}, "must be a whole number"),
        ({"query_part": 3}, "query_part is 3"),
    ],
)
def test_wrong_keyword_arguments_are_said_when_made(gallery, settings, message):
    with pytest.raises(patchrerank.PatchRerankError, match=message):
        patchrerank.load_reranker(gallery, **settings)


def test_rerankers_refuse_wrong_keyword_arguments_when_made(gallery):
    from patchrerank import rerankers as room

    opened = patchrerank.Gallery(gallery)
    wrong = [
        (room.Patchify, {"threads": 0}, "threads must be a whole number"),
        (room.Patchify, {"threads": "2"}, "threads must be a whole number"),
        (room.Chamfer, {"settings": 3}, r"settings is a int \(3\); use ChamferSettings"),
        (room.Chamfer, {"threads": 1.5}, "threads must be a whole number"),
        (room.QueryExpansion, {"settings": "a"}, "settings is text"),
        (room.SuperGlobal, {"settings": 3}, "use SuperGlobalSettings"),
        (room.SpatialVerification, {"images": 3}, "images is a int"),
        (room.SpatialVerification, {"features": "sift"}, r"features is text .*FeatureSettings"),
        (room.SpatialVerification, {"verification": 3}, "verification is a int"),
        (room.AMES, {"settings": 3}, "use AmesSettings"),
        (room.AMES, {"config": 3}, "use AmesConfig"),
        (room.ELViS, {"settings": 3}, "use ElvisSettings"),
    ]
    for reranker, settings, message in wrong:
        with pytest.raises(SettingError, match=message):
            reranker(opened, **settings)


def test_wrong_things_where_a_gallery_or_an_encoder_belongs(gallery, photos, tmp_path):
    from patchrerank.rerankers import Chamfer, Patchify, RefineBoxes

    opened = patchrerank.Gallery(gallery)
    with pytest.raises(SettingError, match=r"open it, as in Gallery\("):
        Patchify(str(gallery))
    with pytest.raises(SettingError, match=r"the encoder is text \('efficientnet_lite0'\)"):
        Patchify(opened, "efficientnet_lite0")
    with pytest.raises(SettingError, match="the encoder is a Fusion"):
        Patchify(opened, patchrerank.Fusion())
    with pytest.raises(SettingError, match="the fusion is a float"):
        Patchify(opened, None, 0.3)
    with pytest.raises(SettingError, match=r"query_crop is text \('boxes'\)"):
        Patchify(opened, query_crop="boxes")
    with pytest.raises(SettingError, match="the gallery is None"):
        Patchify(None)
    with pytest.raises(SettingError, match="the dense encoder is text"):
        Chamfer(opened, dense_encoder="efficientnet_lite0")
    with pytest.raises(SettingError, match="the reranker is a Gallery"):
        RefineBoxes(opened)
    with pytest.raises(SettingError, match="a stage's reranker is text"):
        patchrerank.Stage("patchify", patchrerank.Fusion())
    with pytest.raises(SettingError, match="a stage's fusion is a int"):
        patchrerank.Stage(Patchify(opened), 3)
    with pytest.raises(SettingError, match="the encoder is text"):
        patchrerank.load_reranker(gallery, encoder="efficientnet_lite0")
    with pytest.raises(GalleryError, match="not by a int"):
        patchrerank.Gallery(7)
    with pytest.raises(SettingError, match="the encoder is a Gallery"):
        patchrerank.build_gallery(tmp_path / "h", photos, opened)
    with pytest.raises(SettingError, match="the regions are a int"):
        patchrerank.build_gallery(tmp_path / "h", photos, ENCODER, 3)
    with pytest.raises(EncoderError, match="no_such"):
        patchrerank.build_gallery(tmp_path / "h", photos, "no_such_encoder")
    assert not (tmp_path / "h").exists()


def test_reprs_say_what_they_are(gallery):
    reranker = patchrerank.load_reranker(gallery, "patchify:20:0.3:4,query-expansion:5:0.5:2")
    folder = repr(str(gallery))
    stages = "Stage(patchify:20:0.3:4), Stage(query-expansion:5:0.5:2)"
    assert repr(reranker) == f"Cascade({stages} on {folder})"
    assert repr(reranker.stages[0]) == "Stage(patchify:20:0.3:4)"
    assert repr(reranker.stages[0].reranker).startswith("Patchify(")
    assert folder in repr(reranker.stages[0].reranker)


def test_a_gallery_made_by_a_torch_module_says_that_its_encoder_must_be_passed(
    tiny_gallery, tiny_encoder, photo_folder
):
    ids = list(tiny_gallery.ids[:3])
    query = photo_folder / ids[1]
    with pytest.raises(EncoderError, match=r"torch module.*pass encoder="):
        patchrerank.load_reranker(tiny_gallery).rank(query, ids)
    given = patchrerank.load_reranker(tiny_gallery, encoder=tiny_encoder)
    assert given.rank(query, ids)[0].local_score is not None


def test_local_descriptors_of_queries_are_made_at_the_asked_size(gallery, photos, tmp_path):
    from patchrerank.encoders import load_dense_encoder
    from patchrerank.gallery import LocalOptions, build_local

    encoder = patchrerank.load_encoder(
        "timm:test_resnet", image_size=64, pretrained=False, backend="eager"
    )
    built = patchrerank.build_gallery(tmp_path / "g", photos, encoder, "grid:0")
    dense = load_dense_encoder(encoder, image_size=96)
    build_local(built, dense, LocalOptions(progress=False))
    reranker = patchrerank.load_reranker(built.folder, "chamfer", query_size=64, query_part="all")
    queries = reranker.encode([photos / "1.png"])
    assert queries.local is not None
    assert len(queries.local[0]) == 4
    hits = reranker.rank(photos / "1.png", ["0.png", "1.png", "2.png"])
    assert hits[0].id == "1.png"


def test_query_encoders_are_pickled_as_what_it_takes_to_load_them(gallery, photos):
    reranker = patchrerank.load_reranker(gallery)
    before = reranker.rank(photos / "5.png", ["5.png", "2.png"], [0.4, 0.3])
    content = pickle.dumps(reranker._encoders)
    again = pickle.loads(content)
    assert len(content) < 20_000
    assert "encoder" not in vars(again)
    made = patchrerank.Cascade(reranker.stages, encoders=again)
    assert made.rank(photos / "5.png", ["5.png", "2.png"], [0.4, 0.3]) == before


def test_the_five_lines_stand_in_the_readme():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for line in (
        "import patchrerank",
        'reranker = patchrerank.load_reranker("gallery/")',
        'for hit in reranker.rank("query.jpg", ids, scores, top_k=10):',
    ):
        assert line in text
