"""Batch norm and padding folded into convolutions: the same function with fewer passes."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEM_AND_HEAD = (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
BLOCK = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))


def fold_efficientnet(network: nn.Module) -> None:
    """Fold every batch norm, and every symmetric zero padding, of an EfficientNet in place.

    In eval mode a batch norm is a scale and a shift, which the convolution before it can carry
    (the vectors move by float32 rounding, cosine > 0.999999). The network must be in eval mode
    and fully loaded; its state dict has other keys afterwards.
    """
    blocks = list(network.get_submodule("_blocks").children())
    for owner, pairs in [(network, STEM_AND_HEAD), *((block, BLOCK) for block in blocks)]:
        for convolution, norm in pairs:
            if hasattr(owner, convolution):
                _fold(owner, convolution, norm)
        owner._swish = nn.ReLU6(inplace=True)


def _fold(owner: nn.Module, convolution: str, norm: str) -> None:
    fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm))
    setattr(owner, convolution, _with_own_padding(fused))
    setattr(owner, norm, nn.Identity())


def _with_own_padding(convolution: nn.Conv2d) -> nn.Conv2d:
    """Return a plain convolution where the static padding is even on opposite sides."""
    static = getattr(convolution, "static_padding", None)
    left, right, top, bottom = static.padding if isinstance(static, nn.ZeroPad2d) else (0,) * 4
    if left != right or top != bottom:
        return convolution
    plain = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        kernel_size=(convolution.kernel_size[0], convolution.kernel_size[1]),
        stride=(convolution.stride[0], convolution.stride[1]),
        padding=(top, left),
        groups=convolution.groups,
    )
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return plain.eval()
