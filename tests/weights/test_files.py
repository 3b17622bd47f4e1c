"""Weight files in every format: tensors come back as written; damaged and hostile files are refused in one line."""

import os
import pickle
import random
import re
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.weights import dtypes, files
from tests.weights import weight_writers as write

os.environ["KERAS_BACKEND"] = "jax"

RNG = np.random.default_rng(0)
KERNEL, BIAS = RNG.normal(size=(3, 3, 2, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
NORM = {name: BIAS + i for i, name in enumerate(("gamma", "beta", "moving_mean", "moving_variance"))}
TENSORS = {
    "layer1.0.conv1.weight": KERNEL.transpose(3, 2, 0, 1).copy(),
    "bn.num_batches_tracked": np.array(7),
    "none": np.zeros((0, 3), np.float32),
}
LAYERS = {"conv10": {"kernel": KERNEL, "bias": BIAS}, "conv2": {"kernel": 2 * KERNEL, "bias": BIAS}, "bn": NORM}
FLAT = {f"{layer}/{name}": array for layer, weights in LAYERS.items() for name, array in weights.items()}
COUNTED = [
    ("batch_normalization", "bn", list(NORM.values())),
    *((f"conv2d_{i}", f"block{12 - i}", [i * KERNEL, BIAS]) for i in range(1, 12)),
    ("conv2d", "block12", [0 * KERNEL, BIAS]),
    ("dropout/seed_generator", "seed_generator", [np.array([1, 2])]),
    ("dropout_1/seed_generator", "seed_generator", [np.array([1, 2])]),
]
OFFER = {
    "zip": lambda path: write.write_pth(path, TENSORS),
    "legacy": lambda path: write.write_legacy_pth(path, TENSORS),
    "safetensors": lambda path: write.write_safetensors(path, TENSORS),
    "h5": lambda path: write.write_keras_h5(path, LAYERS),
    "weights.h5": lambda path: write.write_weights_h5(path, COUNTED),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def assert_equal(actual, expected, in_order=True) -> None:
    assert actual.keys() == expected.keys()
    assert not in_order or list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        assert actual[name].tobytes() == array.tobytes()


def refused(path, words) -> str:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        files.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# --- PyTorch and safetensors


@pytest.mark.parametrize("writer", [write.write_pth, write.write_legacy_pth])
def test_torch_gives_every_type_by_name(path, writer):
    values = {kind: np.array([[0, 1], [1, 3]]).astype(dtype) for kind, dtype in dtypes.TORCH.items()}
    writer(path, TENSORS | values)
    layout, tensors = files.read(path)
    assert layout == "torch"
    assert_equal(tensors, TENSORS | values)


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_shares_storages_between_strided_tensors(path, legacy):
    data = np.arange(12, dtype=np.float32)
    storage = write.pickled_storage("FloatStorage", "0", 12, legacy=legacy)
    transposed = write.pickled_tensor(storage, (4, 3), (1, 4))
    slices = write.pickled_tensor(storage, (2, 2), (4, 2), offset=5)
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + slices + b"\x88" + write.ORDERED_DICT + b")RtR"
    pickled = write.pickled_dict({"transposed": transposed, "slices": slices, "parameter": parameter})
    if legacy:
        write.write_legacy_pth_parts(path, pickled, [(12, data.tobytes())])
    else:
        write.write_pth_parts(path, pickled, [data.tobytes()])
    grid = data.reshape(3, 4)
    assert_equal(
        files.read(path).tensors,
        {"transposed": grid.T, "slices": grid[1:, 1::2], "parameter": grid[1:, 1::2]},
    )


def test_torch_of_a_big_endian_machine(path):
    for kind, value in (("HalfStorage", np.float16(3)), ("BFloat16Storage", ml_dtypes.bfloat16(3))):
        tensor = write.pickled_tensor(write.pickled_storage(kind, "0", 1), (1,), (1,))
        write.write_pth_parts(path, write.pickled_dict({"x": tensor}), [value.tobytes()[::-1]], byteorder=b"big")
        assert_equal(files.read(path).tensors, {"x": np.array([value])})


def test_safetensors(path):
    tensors = TENSORS | {"bf16": BIAS.astype(ml_dtypes.bfloat16), "f16": BIAS.astype(np.float16)}
    write.write_safetensors(path, tensors)
    layout, read = files.read(path)
    assert layout == "torch"
    assert_equal(read, tensors, in_order=False)


# --- Keras


@pytest.mark.parametrize("flavour", ["applications", "keras1", "whole"])
def test_legacy_keras(path, flavour):
    write.write_keras_h5(path, LAYERS, flavour)
    layout, tensors = files.read(path)
    assert layout == "keras"
    assert_equal(tensors, FLAT)


def test_a_model_as_a_layer_of_another_gives_the_inner_names(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names0"] = [b"vgg16"]  # Keras splits a list that is too long for one attribute
        file.attrs["layer_names1"] = [b"top"]
        for layer, names in {
            "vgg16": ["vgg16/conv1/kernel:0", "vgg16/conv2/kernel:0"],
            "top": ["top_1/kernel:0"],
        }.items():
            file.create_group(layer).attrs["weight_names"] = names
            for name in names:
                file[layer][name] = KERNEL
    assert list(files.read(path).tensors) == ["conv1/kernel", "conv2/kernel", "top/kernel"]


def test_weights_h5_gives_layer_names_in_the_models_order(path):
    write.write_weights_h5(path, COUNTED)
    layout, tensors = files.read(path)
    assert layout == "keras"
    kernels = {f"block{12 - i}/kernel": i * KERNEL for i in range(12)}  # conv2d_2 before conv2d_10
    assert_equal({name: array for name, array in tensors.items() if array.ndim == 4}, kernels)
    assert_equal(
        {name: array for name, array in tensors.items() if name.startswith("bn/")}, {f"bn/{k}": NORM[k] for k in NORM}
    )
    assert [name for name in tensors if "seed" in name] == ["seed_generator/0", "layers/dropout_1/seed_generator/0"]


def test_weights_h5_below_keras_3_6_names_layers_by_class_and_number(path):
    write.write_weights_h5(path, [(counted, None, arrays) for counted, _, arrays in COUNTED])
    tensors = files.read(path).tensors
    kernels = [name for name, array in tensors.items() if array.ndim == 4]
    assert kernels == ["conv2d/kernel", *(f"conv2d_{i}/kernel" for i in range(1, 12))]
    assert all(np.array_equal(tensors[name], i * KERNEL) for i, name in enumerate(kernels))


@pytest.mark.parametrize("name", ["real.weights.h5", "real.h5"])
@pytest.mark.filterwarnings("ignore")
def test_files_that_keras_wrote(tmp_path, name):
    import keras

    layers = keras.layers
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, name="first")(x)
    y = layers.Dropout(0.5)(layers.BatchNormalization(name="norm")(y))
    y = layers.Conv2D(2, 1, use_bias=False, name="a_second")(y)
    model = keras.Model(x, layers.Dense(2, name="dense")(y))
    (model.save_weights if "weights" in name else model.save)(str(tmp_path / name))
    layout, tensors = files.read(tmp_path / name)
    expected = {f"{layer.name}/{w.name}": np.asarray(w.value) for layer in model.layers for w in layer.weights}
    assert layout == "keras"
    assert_equal({name: array for name, array in tensors.items() if "seed" not in name}, expected, in_order=False)
    assert [name for name, array in tensors.items() if array.ndim == 4] == ["first/kernel", "a_second/kernel"]


# --- Refused files


def test_a_missing_file_a_folder_an_empty_file_and_another_format(path, tmp_path):
    refused(path, "No such file or directory; give the path of a weight file")
    refused(tmp_path, "Is a directory")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "No regular file")
    refused(Path("/dev/zero"), "No regular file")
    with pytest.raises(InputError, match="is no path: embedded null byte"):
        files.read(Path("a\0b"))
    path.write_bytes(b"")
    refused(path, "the file is empty")
    path.write_bytes(b"<!DOCTYPE html><html>404</html>")
    refused(path, "not a weight file of a known format (PyTorch .pth, safetensors, Keras .h5 and .weights.h5)")


@pytest.mark.parametrize("name", OFFER)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_files_that_are_cut_short(path, name, share):
    OFFER[name](path)
    data = path.read_bytes()
    path.write_bytes(data[: max(64, int(len(data) * share))])
    refused(path, "damaged or cut short; download it again")


class Malice:
    """Pickles as a call of any function."""

    def __init__(self, module_function, *arguments):
        self.call = module_function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_pickled_is_run(path, tmp_path, legacy):
    pickled = pickle.dumps({"w": Malice(os.mkdir, str(tmp_path / "harm"))}, 2)
    writer = write.write_legacy_pth_parts if legacy else write.write_pth_parts
    writer(path, pickled, [])
    refused(path, "wants to import 'posix.mkdir', which was not run; save only the weights: torch.save(")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1], "holds a list, not a state dict"),
        ({"epoch": 3}, "'epoch' is int, not a tensor"),
        ({"state_dict": {}}, "'state_dict' is dict, not a tensor"),
        ({5: 3}, "a key of type int is int, not a tensor"),
        ({}, "holds no tensors"),
    ],
)
def test_pickles_that_are_no_state_dict(path, legacy, value, words):
    writer = write.write_legacy_pth_parts if legacy else write.write_pth_parts
    writer(path, pickle.dumps(value, 2), [])
    refused(path, words)


STORAGE = write.pickled_storage("FloatStorage", "0", 4)
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
UNUSED = [
    *((b"\x82\x01", "EXT1"), (b"\x83\x01\x00", "EXT2"), (b"\x84\x01\x00\x00\x00", "EXT4")),
    *((b")\x81", "NEWOBJ"), (b"}\x92", "NEWOBJ_EX"), (b"o", "OBJ"), (b"iposix\nmkdir\n", "INST")),
    *((b"\x8f", "EMPTY_SET"), (b"(\x91", "FROZENSET"), (b"\x90", "ADDITEMS")),
    *((b"\x8b\x01\x00\x00\x00\x01", "LONG4"), (b"L1L\n", "LONG"), (b"I1\n", "INT")),
    *((b"2", "DUP"), (b"0", "POP"), (b"(1", "POP_MARK"), (b"\x93", "STACK_GLOBAL"), (b"\x94", "MEMOIZE")),
    *((b"\x95" + bytes(8), "FRAME"), (b"\x97", "NEXT_BUFFER"), (b"\x98", "READONLY_BUFFER")),
    *((b"B\x00\x00\x00\x00", "BINBYTES"), (b"\x96" + bytes(8), "BYTEARRAY8"), (b"\x8d" + bytes(8), "BINUNICODE8")),
]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (write.pickled_tensor(STORAGE, (5,), (1,)), "size (5,), strides (1,) and offset 0 in a storage of 4"),
        (write.pickled_tensor(STORAGE, (2,), (1,), offset=3), "offset 3 in a storage of 4"),
        (write.pickled_tensor(STORAGE, (2,), (1,), offset=-1), "offset -1 in"),
        (write.pickled_tensor(STORAGE, (2,), (-1,), offset=3), "strides (-1,)"),
        (write.pickled_tensor(STORAGE, (2, 2), (3, 1)), "strides (3, 1)"),
        (write.pickled_tensor(STORAGE, (-2, -2), (1, 1)), "size (-2, -2)"),
        (write.pickled_tensor(STORAGE, (1 << 40,), (0,)), "size (1099511627776,)"),
        (write.pickled_tensor(STORAGE, (0, 1 << 70), (1, 1)), "damaged"),
        (write.pickled_tensor(STORAGE, (2,), (1, 1)), "damaged"),
        (write.pickled_tensor(STORAGE, ("a",), (1,)), "a tensor whose size is no whole number"),
        (write.pickled_tensor(STORAGE, (1,) * 65, (1,) * 65), "a tensor of other axes"),
        (write.pickled_tensor(write.pickled_storage("FloatStorage", "0", 5), (4,), (1,)), "16 bytes for 5 elements"),
        (write.pickled_tensor(write.pickled_storage("DoubleStorage", "0", 4), (4,), (1,)), "16 bytes for 4 elements"),
        (write.pickled_tensor(write.pickled_storage("FloatStorage", "1", 4), (4,), (1,)), "archive/data/1"),
        (write.pickled_tensor(write.plain(3), (4,), (1,)), "a call with other arguments"),
        (write.pickled_tensor(write.pickled_storage("FloatStorage", "0", -4), (4,), (1,)), "storages of -16 bytes"),
        (write.pickled_tensor(write.pickled_storage("FloatStorage", "0", 1 << 62), (4,), (1,)), "storages of 184467"),
        (
            write.pickled_tensor(write.pickled_storage("FloatStorage", "0", 1 << 63), (4,), (1,)),
            "in a way unknown here",
        ),
        (write.plain("no storage") + b"Q", "refers to a storage in a way unknown here"),
        (REBUILD + b")R", "a call with other arguments"),
        (REBUILD + b"(" + STORAGE + write.plain(0) * 3 + b"tR", "a call with other arguments"),
        (write.ORDERED_DICT + b"(K\x05tR", "a call with other arguments"),
        (b"ctorch\nFloatStorage\n)R", "a call with other arguments"),
        # Attributes are set on an allowed function, a storage, a tensor and a list.
        *(
            (value + b"N}" + write.plain("__doc__") + write.plain("harm") + b"s\x86b", "attributes of something else")
            for value in (REBUILD, STORAGE, write.pickled_tensor(STORAGE, (4,), (1,)), b"]")
        ),
        # Opcodes that no state dict has: classes by number, objects, sets, long numbers, copies of the stack, buffers.
        *((code, f"the opcode {name}, which no state dict has") for code, name in UNUSED),
    ],
)
def test_hostile_pickles(path, value, words):
    write.write_pth_parts(path, write.pickled_dict({"w": value}), [bytes(16)])
    refused(path, words)


def bomb(start: bytes, again: bytes, times: int = 100) -> bytes:
    """Return opcodes that leave a dict, and in the memo a value that the opcodes `again` made from itself."""
    made = start + b"q\x03" + (again + b"q\x03") * times
    return write.ORDERED_DICT + b")R}U\x00(" + made + b"tsb"  # a state dict whose attributes hold what was made


BOMBS = {
    "tuple": bomb(b")", b"h\x03h\x03\x86"),
    "list": bomb(b"]", b"](h\x03h\x03e"),
    "dict": bomb(b"}", b"}(K\x00h\x03K\x01h\x03u"),
    "OrderedDict": bomb(b"}", write.ORDERED_DICT + b")R(K\x00h\x03K\x01h\x03u"),
    "depth": bomb(b"]", b"h\x03\x85", 20_000),
}
BOMB = b"h\x03"  # from the memo
PLACES = {
    "value": BOMB,
    "key of a dict": b"}" + BOMB + b"Ns",
    "key of OrderedDict": write.ORDERED_DICT + b"](" + BOMB + b"N\x86e\x85R",
    "reference": BOMB + b"Q",
    "storage": b"(" + write.plain("storage") + BOMB + write.plain("0") + b"NK\x01tQ",
    "storage's key": b"(" + write.plain("storage") + b"ctorch\nFloatStorage\n" + BOMB + b"NK\x01tQ",
    "storage's size": STORAGE.replace(b"K\x04", BOMB),
    "storage's view": STORAGE[:-2] + BOMB + b"tQ",
    "function": BOMB + b")R",
    "arguments": REBUILD + BOMB + b"R",
    "tensor's size": REBUILD + b"(" + STORAGE + b"K\x00" + BOMB + b")tR",
    "tensor's storage": REBUILD + b"(" + BOMB + b"K\x00))tR",
    "attributes": STORAGE + BOMB + b"b",
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", BOMBS)
def test_values_that_grow_without_end_are_refused_at_once(path, kind, legacy):
    writer = write.write_legacy_pth_parts if legacy else write.write_pth_parts
    for place in PLACES.values():
        writer(path, b"\x80\x02" + BOMBS[kind] + b"(" + write.plain("w") + place + b"u.", [])
        refused(path, "'w' is " if place == BOMB else ": ")


@pytest.mark.parametrize(("part", "words"), [("version", "version <class"), ("machine", ""), ("keys", "damaged")])
@pytest.mark.parametrize("kind", BOMBS)
def test_every_pickle_of_the_old_format_may_be_hostile(path, kind, part, words):
    write.write_legacy_pth(path, TENSORS)
    whole, hostile = path.read_bytes(), b"\x80\x02" + BOMBS[kind] + BOMB + (b"\x85." if part == "keys" else b".")
    pickled = {
        "version": pickle.dumps(1001, 2),
        "machine": pickle.dumps(write.MACHINE, 2),
        "keys": pickle.dumps(["0", "1", "2"], 2),
    }[part]
    assert whole.count(pickled) == 1
    path.write_bytes(whole.replace(pickled, hostile))
    if words:
        refused(path, words)
    else:
        assert_equal(files.read(path).tensors, TENSORS)  # nothing reads it


def test_a_list_that_many_calls_copy_and_a_program_without_end_are_refused(path):
    pairs = b"](" + b"".join(write.plain(str(i)) + b"N\x86" for i in range(10_000)) + b"eq\x03"
    call = write.ORDERED_DICT + b"h\x03\x85R"
    state = write.pickled_dict({"a": pairs, **{str(i): call for i in range(3000)}})
    write.write_pth_parts(path, state, [])
    refused(path, "'a' is list, not a tensor by name")
    write.write_pth_parts(path, b"\x80\x02" + b"N" * 1_000_001 + b".", [])
    refused(path, "more than 1000000 opcodes")


def test_keys_that_share_a_hash_are_refused(path):
    keys = b"".join(pickle.dumps(number * sys.hash_info.modulus, 2)[2:-1] + b"N" for number in range(1, 100))
    write.write_pth_parts(path, b"\x80\x02}(" + keys + b"u.", [])
    refused(path, "a key that is neither a text nor a small number")  # 100,000 of them would take minutes


def test_a_state_dict_of_python_2(path):
    tensor = write.pickled_tensor(STORAGE, (4,), (1,))
    pairs = b"](](U\x01a" + tensor + b"e](U\x01b" + tensor + b"ee"
    state = b"\x80\x02" + write.ORDERED_DICT + pairs + b"\x85R}U\x09_metadata}sb."
    write.write_pth_parts(path, state, [BIAS.tobytes()])
    assert_equal(files.read(path).tensors, {"a": BIAS, "b": BIAS})


def test_a_storage_that_stands_twice_or_lies_about_its_size_is_refused(path):
    two = {"a": write.pickled_tensor(STORAGE, (4,), (1,))}
    two["b"] = write.pickled_tensor(write.pickled_storage("IntStorage", "0", 4), (4,), (1,))
    write.write_pth_parts(path, write.pickled_dict(two), [bytes(16)])
    refused(path, "two storages have one key")
    one = write.pickled_dict({"a": two["a"]})
    write.write_legacy_pth_parts(path, one, [(1 << 62, bytes(16))])
    refused(path, "4611686018427387904 elements in a storage of 4")
    write.write_legacy_pth_parts(path, one, [(4, bytes(16))])
    path.write_bytes(path.read_bytes().replace(pickle.dumps(["0"], 2), pickle.dumps(["0", "0"], 2)))
    refused(path, "storages have no names of their own")


def test_zips_that_torch_did_not_write(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"")
    refused(path, "a zip archive without a data.pkl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"")
    refused(path, "compressed, as torch.save never does")
    for twice in ("archive/data.pkl", "other/data.pkl", "archive/data/0"):
        write.write_pth(path, {"a": BIAS})
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings(action="ignore"):
            archive.writestr(twice, bytes(16))
        refused(path, "a name stands twice")
    write.write_pth(path, {"a": BIAS})
    whole = path.read_bytes()
    entry = whole.index(b"PK\x01\x02")
    path.write_bytes(whole[: entry + 6] + b"\x40" + whole[entry + 7 :])  # a zip program of version 6.4 is needed
    refused(path, "damaged or cut short; download it again (NotImplementedError: zip file version 6.4)")
    path.write_bytes(whole[: entry + 24] + b"\xff\xff\xff\x7f" + whole[entry + 28 :])  # the size of a member
    refused(path, "damaged or cut short; download it again (ValueError: its members overlap)")


def test_safetensors_of_an_unknown_type(path):
    safetensors.numpy.save_file({"w": np.zeros(1, np.complex64)}, path)
    refused(path, "'w' is of type C64; convert it to one of F32, ")


def entry(name: str, shape: str = "4", offsets: str = "0, 16", dtype: str = "F32") -> str:
    return f'"{name}": {{"dtype": "{dtype}", "shape": [{shape}], "data_offsets": [{offsets}]}}'


@pytest.mark.parametrize(
    "entries",
    {
        "twice": [entry("a"), entry("a", dtype="I32")],
        "shared": [entry("a"), entry("b")],
        "overlapping": [entry("a"), entry("b", "3", "4, 16")],
        "huge": [entry("a", f"{2**62}")],
        "empty and huge": [entry("a", f"0, {2**62}, {2**62}", "0, 0"), entry("b")],
        "backwards": [entry("a", offsets="16, 0")],
        "of many axes": [entry("a", 100_000 * "1, " + "4")],
        "deep": [entry("a"), '"__metadata__": ' + 100_000 * "[" + 100_000 * "]"],
    }.items(),
    ids=lambda item: item[0],
)
def test_safetensors_whose_header_lies(path, entries):
    header = f"{{{', '.join(entries[1])}}}".encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    refused(path, "damaged or cut short")


def test_memory_that_does_not_suffice_is_no_damage(path, monkeypatch):
    write.write_safetensors(path, TENSORS)

    def deserialize(data):
        raise MemoryError

    monkeypatch.setattr(files.safetensors, "deserialize", deserialize)
    refused(path, "a safetensors file that does not fit into memory")


def test_hdf5_without_keras_and_hdf5_that_points_elsewhere(path, tmp_path):
    with h5py.File(path, "w") as file:
        file["x"] = BIAS
    refused(path, "no weights of Keras in it")
    (tmp_path / "secret").write_bytes(bytes(16))
    write.write_keras_h5(tmp_path / "other.h5", LAYERS)
    for kind, words in (("external storage", "lies in another file"), ("external link", "KeyError")):
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = ["bn"]
            group = file.create_group("bn")
            group.attrs["weight_names"] = ["bn/gamma:0"]
            if kind == "external link":
                group["bn/gamma:0"] = h5py.ExternalLink("other.h5", "bn/bn/gamma:0")
            else:
                group.create_dataset("bn/gamma:0", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
        refused(path, words)
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for whoever writes to it
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["bn"]
        file["bn"] = h5py.ExternalLink("pipe", "bn")
    refused(path, "KeyError")
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (1 << 40, 2), "f4")  # without data
    refused(path, "(1099511627776, 2) of float32")


def test_hdf5_that_unpacks_to_gigabytes_or_nests_without_end(path):
    with h5py.File(path, "w") as file:
        chunked = file.create_dataset("layers/conv2d/vars/0", (4,), "f4", chunks=(4,), compression="gzip")
        chunked.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 24), 9))
    refused(path, "'/layers/conv2d/vars/0' is compressed, as Keras never does")
    with h5py.File(path, "w", libver="latest") as file:
        group = file
        for _ in range(5000):
            group = group.create_group("layers")
    refused(path, "groups nested deeper than 100")
    write.write_weights_h5(path, COUNTED)
    with h5py.File(path, "a") as file:
        file["layers/circle"] = file["layers"]
        file["layers/link"] = h5py.SoftLink("/layers")
    assert "bn/gamma" in files.read(path).tensors


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 2**64 - 16)])
def test_a_heap_that_hdf5_would_walk_endlessly(path, index, size):
    write.write_weights_h5(path, COUNTED)
    data = bytearray(path.read_bytes())
    head = data.index(b"GCOL") + 16
    data[head : head + 2] = index.to_bytes(2, "little")
    data[head + 8 : head + 16] = size.to_bytes(8, "little")
    path.write_bytes(data)
    refused(path, "a heap object of")


@pytest.mark.parametrize("name", OFFER)
def test_any_changed_bytes_are_read_or_refused(path, name):
    OFFER[name](path)
    whole, choose, outcomes = path.read_bytes(), random.Random(0), set()
    for _ in range(100 if "h5" in name else 400):
        data = bytearray(whole)
        for _ in range(choose.choice((1, 1, 2, 8))):
            data[choose.randrange(len(whole))] = choose.choice((0, 255, choose.randrange(256)))
        path.write_bytes(data)
        try:
            files.read(path)
            outcomes.add("read")
        except InputError as error:
            outcomes.add("refused" if len(str(error).splitlines()) == 1 else str(error))
    assert outcomes == {"read", "refused"}
