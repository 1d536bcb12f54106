"""AMES or ELViS with given weights, tuned on one half of the objects and measured on the other."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.datasets import Dataset
from patchrerank.encoders import load_encoder
from patchrerank.tuning import Study, run_tuning
from patchrerank.tuning.result_record import result_record
from patchrerank.tuning.study_file import Scores
from patchrerank.tuning.study_table import study_table
from patchrerank.tuning.write_tuned import behind


def main(
    method: Annotated[str, typer.Argument(help="ames or elvis.")],
    checkpoint: Annotated[
        str, typer.Argument(help="The authors' file, or one of patchrerank train.")
    ],
    dataset: Path,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    image_size: Annotated[int, typer.Option(help="Of patches and global vectors.")] = 224,
    local_image_size: Annotated[int, typer.Option(help="Of the gallery's pictures.")] = 448,
    query_image_size: Annotated[int, typer.Option(help="Of queries.")] = 224,
    query_part: Annotated[str, typer.Option()] = "foreground",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print what tuning finds behind the global search, and behind Patchify as the retriever."""
    scores = Scores(
        dataset=str(dataset),
        encoder=encoder,
        image_size=image_size,
        local_image_size=local_image_size,
        query_image_size=query_image_size,
        query_part=query_part,  # type: ignore[arg-type]
        first_stage="patchify",
    )
    study = Study(stages=f"{method}@{checkpoint}", folds=2, scores=scores)
    model = load_encoder(encoder, image_size=image_size)
    records = {}
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        base = study_table(study, Dataset.load(dataset), model, cache or Path(scratch))
        for first in ("global", "patchify"):
            table = behind(base, first)
            records[first] = result_record(run_tuning(table, study.settings()), table)
    print(json.dumps(records, indent=1))


if __name__ == "__main__":
    typer.run(main)
