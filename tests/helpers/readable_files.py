"""Small files of every kind that the library reads, and what it answers from them.

Each kind has a maker, which writes into a folder; the files in it that are damaged; a reader, whose
answer is compared; and whether a value that differs is noticed: by checksums when it is read, by
``info --verify`` (the reader's problems), or by nobody, where the file is other people's or is
meant to be edited.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from small_datasets import write_dataset

PROTECTED, VERIFIED, PLAIN = "when read", "by --verify", "by nobody"


@dataclass(frozen=True)
class Kind:
    """One kind of file, see above."""

    name: str
    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path], Any]
    noticed: str = PLAIN
    problems: Callable[[Path], list[str]] = lambda folder: []


def _unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def copied(gallery: Path, store: str | None = None, whiten: int | None = None):
    """Return a maker of galleries: a copy, stored another way if asked."""

    def make(folder: Path) -> None:
        from patchrerank.gallery import CompressOptions, Gallery, compress

        if store is None:
            shutil.copytree(gallery, folder, dirs_exist_ok=True)
        else:
            options = CompressOptions(store, m=4, nbits=4, whiten=whiten, progress=False)
            compress(Gallery(gallery), folder, options)

    return make


def read_gallery(folder: Path) -> Any:
    from patchrerank.first_stage import GlobalSearch
    from patchrerank.gallery import Gallery
    from patchrerank.rerankers import Patchify, RefineBoxes
    from patchrerank.types import Queries

    opened = Gallery(folder)
    queries = Queries(_unit(np.random.default_rng(1), 2, opened.dim))
    shortlist = GlobalSearch(opened).search(queries, 12)
    found = RefineBoxes(Patchify(opened)).score(queries, shortlist)
    ids = [opened.ids[row] for row in shortlist.rows[0]]
    whitening = None if opened.whitening is None else opened.whitening.fingerprint
    return ids, opened.rows_of(ids), shortlist.scores, found.scores, found.boxes, whitening


def gallery_problems(folder: Path) -> list[str]:
    """What ``info --verify`` says."""
    from patchrerank.errors import GalleryError
    from patchrerank.gallery import Gallery, verify

    try:
        return verify(Gallery(folder))
    except GalleryError as error:
        return [str(error)]


def make_local(gallery: Path, store: str):
    def make(folder: Path) -> None:
        from patchrerank.gallery import Gallery
        from patchrerank.gallery.local_manifest import LocalManifest
        from patchrerank.gallery.local_writer import open_local_writer
        from patchrerank.types import LocalDescriptors

        shutil.copytree(gallery, folder, dirs_exist_ok=True)
        ids, rng = Gallery(folder).ids, np.random.default_rng(2)
        plan = LocalManifest(12, store, {"spec": "x"}, "same", "f", ((3, 3), (2, 2)), 8)
        with open_local_writer(folder / "local", plan) as writer:
            for image_id in ids:
                count = int(rng.integers(1, 6))
                item = LocalDescriptors(
                    _unit(rng, count, 12),
                    rng.random((count, 2), dtype=np.float32),
                    rng.integers(0, 2, count).astype(np.int16),
                    np.linspace(2, 1, count, dtype=np.float32),
                )
                writer.commit([item], [image_id])
            writer.finish()

    return make


def read_local(folder: Path) -> Any:
    from patchrerank.gallery import Gallery
    from patchrerank.rerankers import Chamfer, DenseCorrelation
    from patchrerank.types import LocalDescriptors, Queries, Shortlist

    opened = Gallery(folder)
    rng = np.random.default_rng(3)
    query = LocalDescriptors(
        _unit(rng, 4, opened.local.dim),
        rng.random((4, 2), dtype=np.float32),
        np.zeros(4, np.int16),
        np.ones(4, np.float32),
    )
    queries = Queries(_unit(rng, 1, opened.dim), local=[query])
    shortlist = Shortlist(np.arange(8)[None], -np.arange(8, dtype=np.float32)[None])
    answers = []
    for method in (Chamfer, DenseCorrelation):
        found = method(opened).score(queries, shortlist)
        answers += [found.scores, found.boxes]
    return answers


def make_index(gallery: Path):
    def make(folder: Path) -> None:
        from patchrerank.first_stage import build_patch_index
        from patchrerank.gallery import Gallery

        copied(gallery)(folder / "gallery")
        index = folder / "index"
        build_patch_index(Gallery(folder / "gallery"), index, "IVF4,PQ4x4", progress=False)

    return make


def read_index(folder: Path) -> Any:
    from patchrerank.first_stage import PatchSearch
    from patchrerank.gallery import Gallery
    from patchrerank.types import Queries

    opened = Gallery(folder / "gallery")
    queries = Queries(_unit(np.random.default_rng(1), 2, opened.dim))
    found = PatchSearch(opened, folder / "index", 2).search(queries, 5)
    return found.shortlist.rows, found.shortlist.scores, found.boxes


def make_table(folder: Path) -> None:
    from patchrerank.tuning.tables.table_files import save_table
    from synthetic import random_table

    save_table(random_table(3), folder)


def read_table(folder: Path) -> Any:
    from patchrerank.tuning import load_table
    from synthetic import one_stage

    table = load_table(folder)
    return one_stage(table, 0.3, 2.0, 5, "a").AP, table.gallery_ids, table.missing("b")


def make_tuned(folder: Path) -> None:
    from patchrerank.calibration import Calibration
    from patchrerank.pipeline import Estimate, StageSpec, Tuned, TunedLocal, TunedOn, Versions

    where = TunedLocal("f", (448, 448), (224, 224), "box")
    Tuned(
        stages=(StageSpec("patchify+refine", 0.25, 2.0, 20), StageSpec("chamfer", 0.5, 1.0, 5)),
        tuned_on=TunedOn("d", "tiny", "i", "grid:2", "float32", "box", 30, where),
        metric="mAP",
        convention="full",
        value=0.75,
        held_out=Estimate(0.7, 0.6, 0.8),
        folds=5,
        seed=0,
        sampler="tpe",
        versions=Versions("0.1.0", "5.0.0", "2.4.6", "3.11.7"),
        warnings=("a",),
        calibration=Calibration(1.0, 2.0, -3.0, base_rate=0.01, nothing_below=0.3),
    ).save(folder / "tuned.json")


def read_tuned(folder: Path) -> Any:
    from patchrerank.pipeline import Tuned

    tuned = Tuned.load(folder / "tuned.json")
    made = tuned.calibration
    return str(tuned), made if made is None else made.probabilities(np.array([[0.5, 0.2]]))


def make_checkpoint(folder: Path) -> None:
    import torch

    from patchrerank.rerankers.networks.ames_network import AmesNetwork
    from patchrerank.rerankers.networks.configs import AmesConfig
    from patchrerank.training.checkpoints import Progress, save_checkpoint

    torch.manual_seed(0)
    network = AmesNetwork(AmesConfig(8, 8, 2, 1, 8))
    optimiser = torch.optim.AdamW(network.parameters())
    save_checkpoint(folder / "own.pt", network, optimiser, Progress(), "run", (5, 7))


def make_others_checkpoint(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from patchrerank.rerankers.networks.ames_network import AmesNetwork
    from patchrerank.rerankers.networks.configs import AmesConfig

    torch.manual_seed(0)
    save_file(AmesNetwork(AmesConfig(8, 8, 2, 1, 8)).state_dict(), folder / "own.safetensors")


def read_checkpoint(name: str):
    def read(folder: Path) -> Any:
        from patchrerank.rerankers import AmesSettings
        from patchrerank.rerankers.ames import load_ames
        from patchrerank.rerankers.trained import limited

        network = load_ames(folder / name)
        weights = {key: value.numpy() for key, value in network.state_dict().items()}
        return weights, limited(AmesSettings(), folder / name)

    return read


def make_boxes(folder: Path) -> None:
    boxes = {"a": [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]], "b": []}
    (folder / "boxes.json").write_text(json.dumps(boxes))


def read_boxes(folder: Path) -> Any:
    from patchrerank.regions import FixedBoxes

    given = FixedBoxes.from_json(folder / "boxes.json")
    return given.spec, [given.boxes(name, 40, 30) for name in given.ids]


def make_coco(folder: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": "2", "file_name": "b.jpg", "width": 20, "height": 30},
    ]
    found = [
        {"image_id": 1, "bbox": [1, 2, 10, 12], "score": 0.5, "category_id": 1},
        {"image_id": "2", "bbox": [0, 0.5, 3, 4], "score": 0.25, "category_id": 1},
    ]
    (folder / "images.json").write_text(json.dumps({"images": images, "annotations": found}))
    (folder / "results.json").write_text(json.dumps(found))


def read_coco_files(folder: Path) -> Any:
    from patchrerank.regions import FixedBoxes

    results = folder / "results.json"
    both = [FixedBoxes.from_coco(folder / "images.json", given) for given in (None, results)]
    return [(given.spec, [given.boxes(name, 40, 30) for name in given.ids]) for given in both]


def make_hdf5(folder: Path) -> None:
    from patchrerank.datasets.ilias_features import write_features
    from patchrerank.gallery import write_hdf5
    from patchrerank.types import LocalDescriptors

    rng = np.random.default_rng(0)
    items = [
        LocalDescriptors(
            _unit(rng, 3, 8),
            rng.random((3, 2), dtype=np.float32),
            np.zeros(3, np.int16),
            np.linspace(2, 1, 3, dtype=np.float32),
        )
        for _ in range(4)
    ]
    write_hdf5(folder / "local.hdf5", items, slots=5)
    write_features(folder / "global.hdf5", ["a/1", "b/2"], _unit(rng, 2, 8))


def read_hdf5_files(folder: Path) -> Any:
    from patchrerank.datasets.ilias_features import read_features
    from patchrerank.gallery import read_hdf5

    with read_hdf5(folder / "local.hdf5") as images:
        local = [(item.vectors, item.positions, item.scales) for item in images]
    features = read_features(folder / "global.hdf5")
    return local, features.ids, features.vectors


def make_npz(folder: Path) -> None:
    from patchrerank.encoders import Whitening

    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((8, 4)).astype(np.float32)
    Whitening(np.zeros(8, np.float32), matrix).save(folder / "whitening.npz")
    np.savez(folder / "adaptation.npz", weight=matrix, bias=np.ones(8, np.float32))


def read_npz_files(folder: Path) -> Any:
    from patchrerank.encoders import Whitening
    from patchrerank.rerankers.linear_adaptation import LinearAdaptation

    adaptation = LinearAdaptation.load(folder / "adaptation.npz")
    return Whitening.load(folder / "whitening.npz").fingerprint, adaptation.weight, adaptation.bias


def make_dataset(folder: Path) -> None:
    write_dataset(
        folder,
        [{"id": "q", "instance": 1, "box": [0, 0, 0.5, 1]}],
        [
            {"id": "a", "instance": 1, "boxes": [[0, 0, 1, 1]], "area": 0.5},
            {"id": "b", "instance": None, "clutter": 3},
        ],
        convention="full",
        query_crop="box",
    )
    (folder / "similarities.json").write_text(json.dumps({"q": {"a": 0.5, "b": 0.25}}))


def read_dataset(folder: Path) -> Any:
    from patchrerank.datasets import load_dataset
    from patchrerank.datasets.ilias_similarities import read_similarities

    found = load_dataset(folder)
    queries = [(q.id, q.instance) for q in found.queries]
    images = [(image.id, image.instance, image.boxes, image.area) for image in found.images]
    return queries, images, found.convention, read_similarities(folder / "similarities.json")


def make_study(folder: Path) -> None:
    (folder / "study.toml").write_text(
        'stages = "patchify,chamfer"\nobjective = "mAP"\ntrials = 20\n'
        '[scores]\nencoder = "x"\n[space.patchify]\nlam = [0.0, 1.0]\n'
    )


def read_study_file(folder: Path) -> Any:
    from patchrerank.tuning.study_file import read_study

    return repr(read_study(folder / "study.toml")).replace(str(folder), "")


def make_journal(folder: Path) -> None:
    import optuna

    from patchrerank.tuning.trials.journal import open_journal

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_journal(folder / "study.log")
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="s", storage=storage, sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=6)


def read_journal(folder: Path) -> Any:
    import optuna

    from patchrerank.tuning.trials.journal import open_journal

    storage = open_journal(folder / "study.log")
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    return [(trial.number, trial.params, trial.values, str(trial.state)) for trial in study.trials]


def make_shortlists(folder: Path) -> None:
    (folder / "pairs.json").write_text('[["a", 0.9], ["b", 0.5]]')
    (folder / "objects.json").write_text('[{"id": "a", "score": 2}, {"id": "b", "score": 1.5}]')
    (folder / "mapping.json").write_text('{"q": {"a": 0.9, "b": 0.5}}')
    (folder / "lines.txt").write_text('{"id": "a", "score": 2}\n{"id": "b", "score": 1}\n')
    (folder / "trec.txt").write_text("q Q0 a 1 0.9 t\nq Q0 b 2 0.5 t\n")
    (folder / "table.txt").write_text("id,score\na,0.9\nb,0.5\n")


def read_shortlists(folder: Path) -> Any:
    from patchrerank.runs import read_shortlist

    names = ("pairs.json", "objects.json", "mapping.json", "lines.txt", "trec.txt", "table.txt")
    found = [read_shortlist(folder / name) for name in names]
    return [(one.ids, one.scores, one.query_id) for one in found]


ARRAYS = ("manifest.json", "*.bin")


def kinds(gallery: Path) -> list[Kind]:
    """Return all kinds of files; those of galleries are made of one that is there."""
    galleries = [
        Kind(f"gallery, {store}{', whitened' * bool(whiten)}",
             copied(gallery, None if store == "float32" else store, whiten), files,
             read_gallery, VERIFIED, gallery_problems)
        for store, whiten, files in (
            ("float32", None, ARRAYS),
            ("int8", None, ("manifest.json", "patch*.bin")),
            ("pq", None, ("manifest.json", "p*.bin")),
            ("float16", 8, ("manifest.json", "whitening.npz")),
        )
    ]  # fmt: skip
    locals_ = [
        Kind(f"local store, {store}", make_local(gallery, store),
             ("local/manifest.json", "local/*.bin"), read_local, VERIFIED, gallery_problems)
        for store in ("float16", "binary")
    ]  # fmt: skip
    index_files = ("index/patches.json", "index/patches.faiss")
    journals = [Kind("journal", make_journal, ("study.log",), read_journal)]
    return [
        *galleries,
        *locals_,
        Kind("patch index", make_index(gallery), index_files, read_index, PROTECTED),
        Kind("score table", make_table, ("*.json", "*.npy"), read_table, PROTECTED),
        Kind("tuned.json", make_tuned, ("tuned.json",), read_tuned),
        Kind("checkpoint", make_checkpoint, ("own.pt",), read_checkpoint("own.pt"), PROTECTED),
        Kind("safetensors", make_others_checkpoint, ("own.safetensors",),
             read_checkpoint("own.safetensors")),
        Kind("boxes", make_boxes, ("boxes.json",), read_boxes),
        Kind("COCO", make_coco, ("images.json", "results.json"), read_coco_files),
        Kind("HDF5", make_hdf5, ("*.hdf5",), read_hdf5_files),
        Kind("npz", make_npz, ("*.npz",), read_npz_files, PROTECTED),
        Kind("data set", make_dataset, ("*.json",), read_dataset),
        Kind("shortlist", make_shortlists, ("*.json", "*.txt"), read_shortlists),
        Kind("study", make_study, ("study.toml",), read_study_file),
        *journals,
    ]  # fmt: skip
