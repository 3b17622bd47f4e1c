"""The Hugging Face hub: ImageNet weights, checked by their sha256, and the files of shared models."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub

from sharp_unet_jax.errors import InputError

FILE = "model.safetensors"
SCHEME = "hf://"  # of the address of a shared model
REPOSITORY = r"[\w.-]+/[\w.-]+"


def is_address(path: str | Path) -> bool:
    """Say whether `path` is the address of a model on the hub, and no path."""
    return str(path).startswith(SCHEME)


def snapshot(address: str, files: Sequence[str]) -> Path:
    """Return the folder, in the hub's cache, of these files of a model; what is not there is downloaded.

    Args:
        address: "hf://OWNER/NAME", for the newest revision, or "hf://OWNER/NAME@REVISION", a branch, tag or commit.
        files: their names. The model may lack some.

    Raises:
        InputError: for an address that is none, a model that does not exist or may not be read, and where the hub
            cannot be reached and the cache lacks the files.
    """
    found = re.fullmatch(rf"{SCHEME}({REPOSITORY})(?:@(\S+))?", address)
    if not found:
        raise InputError(f"{address} is no model: name one as {SCHEME}OWNER/NAME or {SCHEME}OWNER/NAME@REVISION")
    try:
        return Path(huggingface_hub.snapshot_download(found[1], revision=found[2], allow_patterns=[*files]))
    except Exception as error:  # of httpx, the hub, its Rust downloader or the disk: no base in common
        raise InputError(
            f"{address} is not in the hub's cache and can't be fetched ({_first_line(error)}): check its name and the "
            "network, and log in by `hf auth login` if it is private; or load a folder that holds a copy"
        ) from error


def fetch(repo: str) -> Path:
    """Return the path of model.safetensors of a timm repository on the Hugging Face hub.

    The file of `repo`, such as "timm/resnet50.tv_in1k", comes from the hub's cache or is downloaded. A download with
    another sha256 than the hub's is deleted. Raises InputError if the file cannot be fetched; the message says how to
    do without a network.
    """
    cached = huggingface_hub.try_to_load_from_cache(repo, FILE)
    if isinstance(cached, str) and _intact(Path(cached)):
        return Path(cached)
    try:
        # hf_hub_download retries for minutes. This request is made once, and without a network it fails first.
        expected = huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(repo, FILE)).etag
        path = Path(huggingface_hub.hf_hub_download(repo, FILE, force_download=isinstance(cached, str)))
    except Exception as error:  # of httpx, the hub, its Rust downloader or the disk: no base in common
        missing = f"no intact {FILE} of {repo} in the hub's cache, and it can't be fetched"
        raise InputError(f"weights: {missing} ({_first_line(error)}); {_remedy(repo)}") from error
    digest = _sha256(path)
    if digest != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)  # the link to it, or the file itself on disks without links
        broken = f"{FILE} of {repo} came with sha256 {digest} where the hub promises {expected}, and was deleted"
        raise InputError(f"weights: {broken}; try again, or {_remedy(repo)}")
    return path


def _first_line(error: Exception) -> str:
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}"


def _remedy(repo: str) -> str:
    url = f"https://huggingface.co/{repo}/resolve/main/{FILE}"
    cache = huggingface_hub.constants.HF_HUB_CACHE
    return f"download {url} on another machine and give its path as `weights`, or put it in the hub's cache {cache}"


def _intact(path: Path) -> bool:
    """Check a cached file against the sha256 in its name; a file with another name is taken to be intact."""
    # Follow one link only: its target may be a link into a store that names files by another hash.
    name = path.readlink().name if path.is_symlink() else ""
    return not re.fullmatch(r"[0-9a-f]{64}", name) or _sha256(path) == name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
