"""A data set built from its files: python -m datasets.build --dataset=cvc_clinicdb --manual_dir=~/Downloads."""

import contextlib
import difflib
import errno
import importlib
import io
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow_datasets as tfds
from absl import app, flags, logging
from PIL import Image

from datasets import built, files, kept
from datasets.errors import DataError
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.atomic import clear_dead, replacing_folder

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
        DataError: for an unknown name, for faults in the files, and where the disk is full. DamagedError: for a built
            set that is damaged.
    """
    name, _, config = name.partition("/")
    if name not in BUILDERS:
        begun = [one for one in BUILDERS if one.startswith(name)]
        near = (begun or difflib.get_close_matches(name, BUILDERS, n=1, cutoff=0))[0]
        raise DataError(f"there is no data set {name!r:.200}; did you mean {near!r}? (all: {', '.join(BUILDERS)})")
    module = importlib.import_module(f"datasets.{name}.{name}_dataset_builder")
    chosen, config_name = _config(module, name, config, options)
    if manual_dir is not None and not files.local(manual_dir).is_dir():
        raise DataError(f"manual_dir {manual_dir} is not a folder")
    top = files.local(data_dir or tfds.core.constants.DATA_DIR)
    folder = top / name / config_name / str(module.Builder.VERSION)
    # array_record is the only format that is written and read without TensorFlow.
    new = partial(module.Builder, config=chosen, file_format="array_record")
    clear_dead(folder.parent)
    with _quiet():
        if rebuild or not folder.exists():
            manual = files.local(manual_dir) if manual_dir is not None else None
            _write(new, folder, top / "downloads", manual, keep=not rebuild)
        built.check(folder)
        with built.whole(folder):
            return new(data_dir=top)


def _config(module: ModuleType, name: str, config: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the config of the builder in `module`, None for the default one, and its name, "" if there are none."""
    if hasattr(module, "configure"):  # its only config stands for the user's files
        chosen = module.configure(**options)
        return chosen, chosen.name
    known = list(module.Builder.builder_configs)
    if config and config not in known:
        choices = ", ".join(f"{name}/{one}" for one in known) or "it has none"
        raise DataError(f"data set {name!r} has no config {config!r} ({choices})")
    return config or None, config or next(iter(known), "")


def _write(
    new: Callable[..., tfds.core.DatasetBuilder], folder: Path, downloads: Path, manual_dir: Path | None, *, keep: bool
) -> None:
    """Build a set in `folder`; `keep` keeps the set of another process that was faster.

    TFDS builds in a folder of its own, whose name does not say whether its process lives.
    """
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
        with contextlib.suppress(_FasterError), replacing_folder(folder) as temporary:
            builder = new(data_dir=temporary / "tfds")
            builder.download_and_prepare(download_dir=downloads, download_config=config)
            for path in Path(builder.data_dir).iterdir():
                path.rename(temporary / path.name)
            shutil.rmtree(temporary / "tfds")
            built.seal(temporary)
            if keep and folder.exists():
                raise _FasterError
    except DataError:
        raise
    except Exception as error:
        full = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in str(error)]
        if full:
            raise DataError(f"{folder}: {full[0].lower()}; name another data_dir") from error
        raise


class _FasterError(Exception):
    """Another process has built the set in the meantime."""


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
    groups, sizes, folder = set(), set(), Path(builder.data_dir)
    for example in builder.as_data_source(split="train", decoders=undecoded):
        groups.add(example["group"])
        with built.whole(folder), Image.open(io.BytesIO(example["mask"])) as mask:  # reads only the header
            sizes.add((mask.height, mask.width))
    extremes = sorted({min(sizes, key=math.prod), max(sizes, key=math.prod)}, key=math.prod)
    return (
        f"{builder.info.full_name}: {builder.info.splits['train'].num_examples} images, "
        f"{' to '.join(f'{height}x{width}' for height, width in extremes)}, "
        f"classes {', '.join(builder.info.metadata['classes'])}; {len(groups)} groups; {builder.data_dir}"
    )


FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    """Build a data set and print what it holds; or list or delete built sets."""
    del argv
    top = files.local(FLAGS.data_dir or tfds.core.constants.DATA_DIR)
    where = {"data_dir": FLAGS.data_dir, "manual_dir": FLAGS.manual_dir}
    own = {"images": FLAGS.images, "masks": FLAGS.masks, "groups": FLAGS.groups} if FLAGS.dataset == "folder" else {}
    try:
        if FLAGS.list or FLAGS.clear:
            print(kept.clear(top, BUILDERS, FLAGS.clear) if FLAGS.clear else kept.describe(top, BUILDERS))
            return
        if not FLAGS.dataset:
            raise DataError(f"name a data set: --dataset={BUILDERS[0]}, say (all: {', '.join(BUILDERS)})")
        print(summary(build(FLAGS.dataset, **where, rebuild=FLAGS.rebuild, **own)))
    except (DataError, InputError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: nothing was built, give the same command again", file=sys.stderr)
        sys.exit(130)  # the code of a shell after Ctrl-C


if __name__ == "__main__":
    flags.DEFINE_string("dataset", None, f"one of {', '.join(BUILDERS)}; a config after a slash")
    flags.DEFINE_string(
        "data_dir", None, "where built data sets are kept (default: $TFDS_DATA_DIR, or ~/tensorflow_datasets)"
    )
    flags.DEFINE_string("manual_dir", None, "where the downloaded files are")
    flags.DEFINE_bool("rebuild", False, "build a built set again, for example after adding files")
    flags.DEFINE_string("images", None, "folder only: a folder of images, or one that holds images/ and masks/")
    flags.DEFINE_string("masks", None, "folder only: a folder of masks")
    flags.DEFINE_string("groups", None, "folder only: a CSV file with the columns id,group")
    flags.DEFINE_bool("list", False, "list the built sets and their sizes instead")
    flags.DEFINE_string("clear", None, "delete this built set instead, by its name in --list, or all of them: all")
    app.run(main)
