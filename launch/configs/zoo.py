"""A zoo of networks, plain and sharp: does the sharp block help my network?

Ten pairs of twins. All train from scratch with the same seed, folds and batches, so twins differ
only in their skip connections.

    python -m launch.cv --config=zoo.py --config.data.manual_dir=DOWNLOADS
    python -m launch.cv --config=zoo.py --config.data.builder=cvc_clinicdb --config.data.size=192,256 \
        --config.batch_size=16 --workdir=work/zoo_cvc --config.data.manual_dir=DOWNLOADS

Data, unless you name another set: ISBI-2012, 30 slices; datasets/isbi2012/README.md says what to download. A group is a
block of six neighbouring slices. The protocol is nested and folds keep groups whole. The batch is 4, as in isbi.py,
unless you give another.

Cost: the whole is not measured; seven of the pairs took 280 minutes on two busy CPU cores, with a patience of 10.
Expected: there are no published figures for nested folds; results/README.md has these seven.

TernausNet-19 is left out, a larger TernausNet-16. So is KiU-Net: its second branch computes at up to eight times the
image's side. To add it, train it separately with the same settings, and report both: the folds are the same.

    python -m launch.cv --config=zoo.py --config.models=kiunet,sharp_kiunet --workdir=work/kiunet ...
    python -m launch.report work/zoo work/kiunet --output=report
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="isbi2012", size=(128, 128)),
    models=(
        *("unet", "sharp_unet"),
        *("wide_unet", "wide_sharp_unet"),
        *("ternausnet16", "sharp_ternausnet16"),
        *("unet_resnet18", "sharp_unet_resnet18"),
        *("unet_resnet34", "sharp_unet_resnet34"),
        *("unet_resnet50", "sharp_unet_resnet50"),
        *("unetpp", "sharp_unetpp"),
        *("unetpp_deep", "sharp_unetpp_deep"),
        *("multiresunet", "sharp_multiresunet"),
        *("attention_unet", "sharp_attention_unet"),
    ),
    protocol="nested",
    grouped=True,
    repeats=1,
    batch_size=4,
)
