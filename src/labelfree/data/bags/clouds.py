"""Decode sensor_msgs/PointCloud2 to x, y, z and intensity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError

KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""NumPy's names of the data types of PointField."""
INTENSITY = ("intensity", "intensities", "reflectivity", "i")
"""Names of the field with the return strength, the preferred one first."""
MOST_POINTS = 50_000_000
FIX = "the bag is damaged: record or copy it again"


def cloud_values(message: Any, where: str) -> NDArray[np.float32]:  # [N, 4]
    """Return the finite points of a cloud: x y z in metres and intensity, 0 where the cloud has none.

    Raises an `InputError` if a field is missing or the message has too few bytes.
    """
    fields = {field.name: field for field in message.fields}
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise InputError(f"{where}: has no field '{missing[0]}'; give another --cloud-topic.")
    table = _table(message, [fields[name] for name in fields if name in ("x", "y", "z", *INTENSITY)], where)
    strength = next((name for name in INTENSITY if name in fields), None)
    with np.errstate(over="ignore", invalid="ignore"):
        columns = [table[axis].astype(np.float32) for axis in "xyz"]
        columns.append(np.zeros(len(table), np.float32) if strength is None else table[strength].astype(np.float32))
    values = np.stack(columns, axis=1)
    return np.ascontiguousarray(values[np.isfinite(values[:, :3]).all(axis=1)])


def _table(message: Any, fields: list[Any], where: str) -> NDArray[Any]:
    """Return the named fields of all points as a structured array."""
    step, row, width, height = (int(getattr(message, k)) for k in ("point_step", "row_step", "width", "height"))
    data = np.asarray(message.data, dtype=np.uint8)
    order = ">" if message.is_bigendian else "<"
    known = all(field.datatype in KINDS and field.count in (0, 1) for field in fields)
    ends = [field.offset + np.dtype(KINDS[field.datatype]).itemsize for field in fields] if known else [step + 1]
    row = row if height > 1 else step * width
    if not 0 < width * height <= MOST_POINTS or max(ends) > step or row < step * width or len(data) < row * height:
        raise InputError(f"{where}: {len(data)} bytes are no cloud of {width}x{height} points of {step} bytes; {FIX}.")
    layout = np.dtype(
        {
            "names": [field.name for field in fields],
            "formats": [order + KINDS[field.datatype] for field in fields],
            "offsets": [field.offset for field in fields],
            "itemsize": step,
        }
    )
    rows = np.ascontiguousarray(data[: row * height].reshape(height, row)[:, : step * width])
    return rows.view(layout).ravel()
