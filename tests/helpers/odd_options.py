"""Commands with option values that nobody meant; which are tried follows from a list."""

from __future__ import annotations

from collections.abc import Iterator

NUMBERS = ["nan", "inf", "-inf", "-1", "0", "1e999", "9" * 30, "9" * 5000, "0.5", "x", "", "٣", "²"]
TEXTS = ["", "x", ":", "::::", ",", "all", "nan:nan", "\0", "9" * 5000, "é" * 300, "-1", "a:b:c:d"]
FACTORIES = ["PQ0", "IVF0,Flat", "HNSW0", "IVF999999999999,Flat", "PQ7", "OPQ0", "x", "", ","]
STAGES = [
    "patchify:nan", "patchify:-1", "patchify:5:nan", "patchify:5:inf:1", "patchify:5:0.5:nan",
    "patchify:5:0.5:-1", "patchify:5:0.5:1e999", "patchify:5:0.5:1:1", "patchify:" + "9" * 400,
    "patchify:" + "9" * 5000, "patchify:²", "patchify:٣:0:1", ",", "patchify,", ":::",
    ",".join(["patchify"] * 400), "query-expansion:-1", "superglobal:0",
]  # fmt: skip
BOXES = ["nan,0,1,1", "0,0,inf,1", "1,1,0,0", "-1,0,1,1", "0,0,0,0", "1e999,0,1,1", "0,0,1", "x"]
FLOATS = ("--lam", "--gamma")


def odd_calls(gallery, picture, shortlist, dataset, out) -> Iterator[list[str]]:
    """Yield the words of each call."""
    search, rerank = ["search", gallery, picture], ["rerank", gallery, picture, shortlist]
    for words in (search, rerank):
        for option in (*FLOATS, "--shortlist-size", "--top-k"):
            yield from ([*words, option, value] for value in NUMBERS)
        yield from ([*words, "--box", value] for value in (*BOXES, *TEXTS))
        yield from ([*words, "--stages", value] for value in (*STAGES, *TEXTS))
        for option in ("--query-crop", "--device", "--tuned", "--query-part"):
            yield from ([*words, option, value] for value in TEXTS)
        for option in ("--query-image-size", "--rescore"):
            yield from ([*words, option, value] for value in NUMBERS)
    yield from ([*search, "--first-stage", value] for value in (*FACTORIES, *TEXTS))
    for option in ("--index", "--index-ids", "--missing"):
        yield from ([*search, option, value] for value in TEXTS)
    yield from ([*rerank, "--missing", value] for value in TEXTS)
    for value in TEXTS:
        yield ["info", value, "--verify"]
        yield ["search", value, picture]
        yield ["search", gallery, value]
        yield ["rerank", gallery, picture, value]
    compress = ["compress", gallery, out, "--quiet"]
    for option in ("--whiten", "--m", "--nbits", "--seed"):
        for value in NUMBERS:
            yield [*compress, "--store", "pq", "--m", "4", "--nbits", "2", option, value]
    for option in ("--store", "--train-on", "--boxes"):
        for value in (*TEXTS, "L" + "9" * 30, "L" + "9" * 5000, "L٣", "L-1"):
            yield [*compress, "--store", "pq", "--m", "4", "--nbits", "2", option, value]
    yield from _imports(out)
    for value in TEXTS:
        yield ["export", value, out]
        yield ["export", gallery, out, "--format", value]
    storage = ["storage", "--images", "5", "--dim", "8"]
    for option in ("--images", "--dim", "--level", "--m", "--nbits", "--nlist"):
        yield from ([*storage, option, value] for value in NUMBERS)
    for option in ("--unit", "--store"):
        yield from ([*storage, option, value] for value in TEXTS)
    small = ["--candidates", "2", "--patches", "2", "--dim", "8", "--parts", "4", "--queries", "2"]
    bench = ["bench", *small, "--descriptors", "2", "--store-mib", "1", "--rounds", "1"]
    for option in (*small[::2], "--descriptors", "--store-mib", "--rounds"):
        yield from ([*bench, "--job", "float32", option, value] for value in NUMBERS)
    yield from ([*bench, "--job", value] for value in TEXTS)
    exhaustive = ["exhaustive", dataset, "--encoder", "timm:test_resnet", "--random-weights"]
    exhaustive += ["--image-size", "64", "--regions", "grid:0", "--index", "Flat", "--quiet"]
    for value in (*FACTORIES, *TEXTS):
        yield [*exhaustive, "--index", value]
    yield from ([*exhaustive, "--nprobe", value] for value in NUMBERS)
    for value in NUMBERS:
        yield [*exhaustive, "--regions", f"grid:{value}"]
        yield [*exhaustive, "--regions", f"sliding:{value}:0.5"]
        yield [*exhaustive, "--regions", f"sliding:1:{value}"]
        yield [*exhaustive, "--image-size", value]
    for option in ("--train-on", "--encoder", "--device", "--regions"):
        yield from ([*exhaustive, option, value] for value in TEXTS)


def _imports(out) -> Iterator[list[str]]:
    whole = ["import", out, "--ids", "x", "--globals", "x", "--patches", "x", "--encoder", "x"]
    options = ("--ids", "--globals", "--patches", "--counts", "--boxes", "--from", "--encoder")
    for option in (*options, "--regions", "--id-type", "--store", "--root"):
        yield from ([*whole, option, value] for value in (*TEXTS, *NUMBERS))
