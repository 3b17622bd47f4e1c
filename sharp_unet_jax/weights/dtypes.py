"""Dtypes of tensors in weight files by the names that PyTorch and safetensors give them; bytes are little-endian."""

import ml_dtypes
import numpy as np

_NAMES = [  # PyTorch's storage, safetensors' name
    ("FloatStorage", "F32", "<f4"),
    ("HalfStorage", "F16", "<f2"),
    ("DoubleStorage", "F64", "<f8"),
    ("BFloat16Storage", "BF16", ml_dtypes.bfloat16),
    ("LongStorage", "I64", "<i8"),
    ("IntStorage", "I32", "<i4"),
    ("ShortStorage", "I16", "<i2"),
    ("CharStorage", "I8", "i1"),
    ("ByteStorage", "U8", "u1"),
    ("BoolStorage", "BOOL", "?"),
]
TORCH = {storage: np.dtype(dtype) for storage, _, dtype in _NAMES}
SAFETENSORS = {name: np.dtype(dtype) for _, name, dtype in _NAMES}
