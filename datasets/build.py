"""A data set built from its files: python -m datasets.build --dataset=cvc_clinicdb --manual_dir=~/Downloads."""

import contextlib
import difflib
import importlib
import io
import math
import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import app, flags, logging
from PIL import Image

from datasets import files

BUILDERS = ("cvc_clinicdb", "isbi2012", "covid19_ct", "isic2018", "dsb2018", "lung_ct", "folder", "phantom")


def build(
    name: str,
    *,
    data_dir: Path | str | None = None,
    manual_dir: Path | str | None = None,
    rebuild: bool = False,
    **options: Any,
) -> tfds.core.DatasetBuilder:
    """Return the builder of a data set that is ready to be read; build the set first if it is not there yet.

    Args:
        name: a data set, or a data set and its config: "phantom/large".
        data_dir: where built sets are kept; default $TFDS_DATA_DIR or ~/tensorflow_datasets.
        manual_dir: where the downloaded files are; default `data_dir`/downloads/manual.
        rebuild: build again; without it a built set is reused even if the files have changed.
        options: of the builder; `folder` has some.

    Raises:
        DataError: for an unknown name, for faults in the files, and where the disk is full.
    """
    name, _, config = name.partition("/")
    if name not in BUILDERS:
        begun = [one for one in BUILDERS if one.startswith(name)]
        near = (begun or difflib.get_close_matches(name, BUILDERS, n=1, cutoff=0))[0]
        raise files.DataError(f"there is no data set {name!r}; did you mean {near!r}? (all: {', '.join(BUILDERS)})")
    module = importlib.import_module(f"datasets.{name}.{name}_dataset_builder")
    known = list(module.Builder.builder_configs)
    if config and config not in known:
        choices = ", ".join(f"{name}/{one}" for one in known) or "it has none"
        raise files.DataError(f"data set {name!r} has no config {config!r} ({choices})")
    if manual_dir is not None and not Path(manual_dir).expanduser().is_dir():
        raise files.DataError(f"manual_dir {manual_dir} is not a folder")
    directory = Path(data_dir).expanduser() if data_dir is not None else None
    # array_record is the only format that is written and read without TensorFlow.
    new = partial(module.Builder, config=config or None, data_dir=directory, file_format="array_record", **options)
    download_config = tfds.download.DownloadConfig(
        manual_dir=Path(manual_dir).expanduser() if manual_dir is not None else None,
    )
    with _quiet(), _aside(Path(new().data_dir)) if rebuild else contextlib.nullcontext():
        builder = new()
        try:
            builder.download_and_prepare(download_config=download_config)
        except files.DataError:
            raise
        except Exception as error:  # of any kind, where another process has built the set in the meantime
            builder = new()
            if builder.is_prepared():
                return builder
            if "No space left on device" in str(error):
                raise files.DataError(
                    f"{builder.data_dir}: no space left on the device; name another data_dir"
                ) from error
            raise
    return builder


@contextlib.contextmanager
def _aside(built: Path) -> Iterator[None]:
    """Move a built set out of the way, and back if the block builds no new one."""
    before = built.with_name(f".{built.name}.before.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        built.rename(before)
    try:
        yield
    finally:
        if built.exists():
            shutil.rmtree(before, ignore_errors=True)
        elif before.exists():
            before.rename(built)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide TFDS's progress bars, its prints, and its log lines below errors."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def summary(builder: tfds.core.DatasetBuilder) -> str:
    """Return one line: the images, their sizes (height x width), classes and groups, and the folder of the set."""
    undecoded = {"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()}
    groups, sizes = set(), set()
    for example in builder.as_data_source(split="train", decoders=undecoded):
        groups.add(example["group"])
        with Image.open(io.BytesIO(example["mask"])) as mask:  # reads the header alone
            sizes.add((mask.height, mask.width))
    extremes = sorted({min(sizes, key=math.prod), max(sizes, key=math.prod)}, key=math.prod)
    return (
        f"{builder.info.full_name}: {builder.info.splits['train'].num_examples} images, "
        f"{' to '.join(f'{height}x{width}' for height, width in extremes)}, "
        f"classes {', '.join(builder.info.metadata['classes'])}; {len(groups)} groups; {builder.data_dir}"
    )


FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    """Build a data set and print what it holds."""
    del argv
    where = {"data_dir": FLAGS.data_dir, "manual_dir": FLAGS.manual_dir}
    own = {"images": FLAGS.images, "masks": FLAGS.masks, "groups": FLAGS.groups} if FLAGS.dataset == "folder" else {}
    try:
        print(summary(build(FLAGS.dataset, **where, rebuild=FLAGS.rebuild, **own)))
    except (files.DataError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: nothing was built, give the same command again", file=sys.stderr)
        sys.exit(130)  # the code of a shell after Ctrl-C


if __name__ == "__main__":
    flags.DEFINE_string("dataset", None, f"one of {', '.join(BUILDERS)}; a config after a slash", required=True)
    flags.DEFINE_string("data_dir", None, "where built data sets are kept (default: $TFDS_DATA_DIR)")
    flags.DEFINE_string("manual_dir", None, "where the downloaded files are")
    flags.DEFINE_bool("rebuild", False, "build a built set again, for example after adding files")
    flags.DEFINE_string("images", None, "folder only: a folder of images, or one that holds images/ and masks/")
    flags.DEFINE_string("masks", None, "folder only: a folder of masks")
    flags.DEFINE_string("groups", None, "folder only: a CSV file with the columns id,group")
    app.run(main)
