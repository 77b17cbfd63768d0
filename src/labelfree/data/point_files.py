"""Point cloud files of all formats: PLY, LAS, LAZ and PCD, told apart by the ends of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelfree.data.integrity import check_ply
from labelfree.data.las import read_las, write_las
from labelfree.data.pcd import read_pcd, write_pcd
from labelfree.data.ply import read_ply, write_ply
from labelfree.data.point_cloud import PointCloud
from labelfree.errors import InputError

POINT_FORMATS = ("ply", "las", "laz", "pcd")
"""Names of the formats, which are also the ends of the files' names."""
POINT_SUFFIXES = tuple(f".{name}" for name in POINT_FORMATS)


def is_point_file(path: Path) -> bool:
    """Return whether a path ends like the name of a point cloud file."""
    return path.suffix.lower() in POINT_SUFFIXES


def existing_point_file(path: Path) -> Path:
    """Return the path, or if it is missing the file beside it that has the same name in another format."""
    if path.is_file():
        return path
    return next((other for suffix in POINT_SUFFIXES if (other := path.with_suffix(suffix)).is_file()), path)


def read_points(path: str | Path, labels: bool = True) -> PointCloud:
    """Read a point cloud file; files of other names are read as PLY.

    Without `labels`, labels and other results are not read. Raises an `InputError` if the file cannot be read.
    """
    match Path(path).suffix.lower():
        case ".las" | ".laz":
            return read_las(path, labels)
        case ".pcd":
            return read_pcd(path, labels)
        case _:
            return read_ply(path, labels)


def check_points(path: Path) -> None:
    """Raise an `InputError` if the file is truncated or cannot be read."""
    if path.suffix.lower() not in POINT_SUFFIXES or path.suffix.lower() == ".ply":
        check_ply(path)
    read_points(path)


def write_points(path: str | Path, cloud: PointCloud, names: Sequence[str] = (), like: Path | None = None) -> int:
    """Write a point cloud file in the format of its name; return the number of points that the format cannot store.

    `names` are the classes, which LAS files list. `like` is a LAS or LAZ file with the same points, whose other
    dimensions and coordinate system a LAS or LAZ keeps.
    """
    match Path(path).suffix.lower():
        case ".las" | ".laz":
            return write_las(path, cloud, names, like if like and like.suffix.lower() in (".las", ".laz") else None)
        case ".pcd":
            write_pcd(path, cloud)
        case ".ply":
            write_ply(
                path,
                cloud.points,
                cloud.colours,
                cloud.labels,
                cloud.scores,
                seen=cloud.seen,
                segments=cloud.segments,
                support=cloud.support,
            )
        case other:
            raise InputError(f"{path}: '{other}' is no format of point clouds; use {', '.join(POINT_SUFFIXES)}.")
    return 0
