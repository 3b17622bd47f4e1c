"""The ResNet-50 U-Net of smp (segmentation_models_pytorch). Its images have a height and a width that 32 divides."""

import torch
from torch import nn
from torch_unet import Laplacian


def build(sharp: bool) -> nn.Module:
    """Build it with fresh weights, or with `sharp` its sharp twin. It loads weights by our names."""
    model = _smp().Unet("resnet50", encoder_weights=None, classes=1)
    model.register_load_state_dict_pre_hook(_rename)
    if sharp:
        # smp's first map is the image, which its decoder ignores. Its last map is no skip connection.
        model.encoder.skip = Laplacian()
        model.encoder.register_forward_hook(
            lambda encoder, _, maps: [maps[0], *(encoder.skip(x) for x in maps[1:-1]), maps[-1]]
        )
    return model


def _rename(model: nn.Module, state: dict[str, torch.Tensor], *_: object) -> None:  # noqa: ARG001
    """Rename our decoder's weights to smp's names, in place."""
    for name in list(state):
        part, *layers, leaf = name.split(".")
        if part != "decoder":
            continue
        if layers == ["head"]:
            parents = ["segmentation_head", "0"]
        else:
            kind = layers[-1]  # conv1, bn1, conv2 or bn2
            parents = [part, *layers[:-1], kind.replace("bn", "conv"), "1" if kind.startswith("bn") else "0"]
        state[".".join([*parents, leaf])] = state.pop(name)


def _smp():
    """Import segmentation_models_pytorch, also if torchvision's compiled operators are for another build of torch."""
    library = torch.library.Library("torchvision", "DEF")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # these operators are not used here, but the import fails without them
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import segmentation_models_pytorch

    return segmentation_models_pytorch
