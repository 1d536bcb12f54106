#!/usr/bin/env bash
# timm 1.0.31: asking for a model without its head makes the loading of its weights lenient, so that
# a wholly foreign file gives random weights.
#
# The file holds the right weights under names with a prefix ("backbone."), as training frameworks save
# them. With num_classes=1000 loading it is an error, and with num_classes=0 through checkpoint_path too;
# through the pretrained file with num_classes=0 (the way of everybody who wants features) nothing
# matches, no error is raised, and the network stays as it was initialised. Of the weights that are
# missing only an INFO line tells; a WARNING names the superfluous ones.
# What to do: load the state dict yourself with strict=True, or compare a weight.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check timm==1.0.31 torch==2.14.1 torchvision==0.29.1

cat >show.py <<'PYTHON'
import logging
from importlib.metadata import version

import timm
import torch

LINES = []


class Keep(logging.Handler):
    def emit(self, record):
        LINES.append((record.levelname, record.getMessage().split("(")[0].strip()))


logging.getLogger("timm").addHandler(Keep())
logging.getLogger("timm").setLevel(logging.INFO)
trained = timm.create_model("resnet18", num_classes=0)
torch.save({f"backbone.{k}": v for k, v in trained.state_dict().items()}, "weights.pth")
FILE = {"pretrained": True, "pretrained_cfg_overlay": {"file": "weights.pth"}}


def load(title, **arguments):
    LINES.clear()
    try:
        model = timm.create_model("resnet18", **arguments)
    except RuntimeError as error:
        print(f"{title}: RuntimeError, {str(error).splitlines()[0]}")
        return
    same = torch.equal(model.conv1.weight, trained.conv1.weight)
    print(f"{title}: no error, first weights are the file's: {same}")
    for level, text in LINES:
        if "keys" in text:
            print(f"  {level}: {text}")


print("timm", version("timm"), "torch", version("torch").split("+")[0])
load("checkpoint_path, no head", num_classes=0, checkpoint_path="weights.pth")
load("pretrained file, 1000 classes", num_classes=1000, **FILE)
load("pretrained file, no head", num_classes=0, **FILE)
PYTHON

cat >expected.txt <<'EXPECTED'
timm 1.0.31 torch 2.14.1
checkpoint_path, no head: RuntimeError, Error(s) in loading state_dict for ResNet:
pretrained file, 1000 classes: RuntimeError, Error(s) in loading state_dict for ResNet:
pretrained file, no head: no error, first weights are the file's: False
  INFO: Missing keys
  WARNING: Unexpected keys
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
