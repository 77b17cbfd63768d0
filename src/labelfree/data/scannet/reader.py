"""Read a ScanNet scan as a scene: mesh vertices, and frames of `scannet_frames_25k`, an export or the `.sens` file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.archives import member_names
from labelfree.data.calibrations import Calibration, StatedIntrinsics, doubts
from labelfree.data.fusion import FusionOptions, fuse_cached
from labelfree.data.integrity import check_ply, frame_faults
from labelfree.data.ply import PlyCloud, read_ply
from labelfree.data.poses import read_pose_file
from labelfree.data.scannet.exports import SCAN_KEYS, ExportedFrames, stated_in_lines
from labelfree.data.scannet.labels import (
    NYU40_OF_BENCHMARK,
    Categories,
    LabelPicture,
    nyu40_table,
    read_categories,
    segment_labels,
    vertex_labels,
)
from labelfree.data.scannet.sens import SensFile, open_sens, open_sens_header
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.decoding import picture_size
from labelfree.files.documents import read_json
from labelfree.raster import ImageFile, MapFile, Raster
from labelfree.scene import Frame, Scene

SENS_EVERY = 100
"""Step between the frames of a `.sens` file without `--every`, as in `scannet_frames_25k`."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of a scan; None for missing parts."""

    name: str
    folder: Path | None
    """`scans/NAME`."""
    frames: ExportedFrames | None
    """`scannet_frames_25k/NAME`, or an export."""
    tsv: Path | None
    """`scannetv2-labels.combined.tsv`."""

    def part(self, ending: str) -> Path | None:
        """Return the file of the scan's folder with this ending; None if it is missing."""
        path = None if self.folder is None else self.folder / f"{self.name}{ending}"
        return path if path is not None and path.is_file() else None

    def mesh(self) -> Path | None:
        """Return the mesh whose vertices are the points: the benchmark's, else the only mesh; None if there is none."""
        own = self.part("_vh_clean_2.ply") or self.part("_vh_clean.ply")
        if own is not None or self.folder is None:
            return own
        others = [path for path in self.folder.glob("*.ply") if not path.name.endswith(".labels.ply")]
        return others[0] if len(others) == 1 else None


@dataclass(frozen=True, eq=False)
class Grid:
    """Intrinsics, size and depth scale that the exported frames of a scan share."""

    intrinsics: NDArray[np.float64]  # [3, 3]
    size: tuple[int, int]  # height, width
    depth_scale: float


@dataclass(frozen=True)
class ScanSource:
    """One scan on disk; files are read only on request.

    Coordinates are those of the distributed mesh, which the poses share. The `axisAlignment` of `.txt` is not applied,
    so that predictions lie on the mesh. With and without it, z is up.
    """

    files: ScanFiles
    every: int | None = None
    limit: int | None = None
    cache_dir: Path | None = None

    @property
    def name(self) -> str:
        """Return the scan's name, such as `scene0000_00`."""
        return self.files.name

    def build(self) -> Scene:
        """Return the mesh's vertices with colours and labels, and the frames that have a pose.

        Without a mesh the depth maps are fused.
        """
        frames = self.frames()
        mesh = self.files.mesh()
        if mesh is None:
            fused = fuse_cached(frames, FusionOptions(), self.cache_dir)
            cloud = PlyCloud(fused.points_world, fused.colours, None, fused.labels)
            return Scene(self.name, cloud.points, frames, cloud.colours, None, cloud.labels, z_up=True)
        cloud = read_ply(mesh, labels=False)
        labels = self._point_labels(mesh, len(cloud.points))
        return Scene(self.name, cloud.points, frames, cloud.colours, None, labels, z_up=True)

    def frames(self, faults: list[str] | None = None) -> tuple[Frame, ...]:
        """Return the frames on the depth maps' grid; frames without a finite pose are left out.

        If `faults` is given, errors of single frames are appended to it instead of raised.
        """
        if self.files.frames is not None:
            return self._frames_of_folder(self.files.frames, faults)
        path = self.files.part(".sens")
        if path is not None:
            return self._frames_of_sens(open_sens(path))
        raise InputError(
            f"{self.files.folder}: has neither {self.name}.sens nor frames, in scannet_frames_25k or exported."
        )

    def calibration(self) -> Calibration:
        """Return the source of the intrinsics of the frames, and other sources that disagree."""
        if self.files.frames is not None:
            return self.files.frames.calibration(self.files.frames.names()[0])
        path = self.files.part(".sens")
        if path is None:
            raise InputError(f"{self.files.folder}: has no {self.name}.sens.")
        sens = open_sens_header(path)
        used = StatedIntrinsics(f"{path} (its header)", sens.intrinsics_depth)
        info, others = self.files.part(".txt"), list[StatedIntrinsics]()
        if info is not None:
            with contextlib.suppress(InputError):
                others.append(stated_in_lines(info, SCAN_KEYS, sens.depth_size))
        return Calibration(used.where, "the header of the .sens file", doubts(used, others))

    def lost(self) -> int:
        """Return how many of the selected frames have no finite pose."""
        if self.files.frames is not None:
            names = self.files.frames.names()[:: self.every or 1]
            return sum(self._pose(self.files.frames, name) is None for name in names)
        path = self.files.part(".sens")
        frames = () if path is None else open_sens(path).frames[:: self.every or SENS_EVERY]
        return sum(not np.isfinite(frame.camera_to_world).all() for frame in frames)

    def submission_file(self, folder: Path, split: str | None) -> Path:
        """Return the path of the benchmark's label file, `NAME.txt`."""
        return folder / f"{self.name}.txt"

    def submit(self, labels: NDArray[np.uint8], folder: Path, split: str | None) -> Path:
        """Write `NAME.txt` with one NYU40 id per line and vertex, 0 for unlabelled vertices; return its path."""
        nyu40 = np.zeros(256, np.int64)
        nyu40[: len(NYU40_OF_BENCHMARK)] = NYU40_OF_BENCHMARK
        path = self.submission_file(folder, split)
        write_text(path, "".join(f"{number}\n" for number in nyu40[labels].tolist()))
        return path

    def lacks_label_file(self) -> bool:
        """Return whether the scan has ground truth that cannot be read because ScanNet's label file is missing."""
        points = self.files.part("_vh_clean_2.labels.ply") or self.files.part("_vh_clean_2.0.010000.segs.json")
        by_segments = points is not None and points.suffix == ".json"
        return self.files.tsv is None and (by_segments or self.files.part("_2d-label-filt.zip") is not None)

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return what is missing, truncated or contradictory, one sentence each; images are not decoded."""
        found: list[str] = []
        try:
            found += frame_faults(self.frames(found), thorough)
        except InputError as error:
            found += [] if found else [str(error)]
        for look in (self._look_at_points, *(self._alternatives() if thorough else ())):
            try:
                look()
            except InputError as error:
                found.append(str(error))
        return tuple(dict.fromkeys(found))

    def _alternatives(self) -> Iterator[Callable[[], object]]:
        """Yield readers of the files that are not used because other files are preferred."""
        if self.files.frames is not None and (path := self.files.part(".sens")) is not None:
            yield partial(open_sens, path)
        for ending in ("_vh_clean_2.0.010000.segs.json", ".aggregation.json", "_vh_clean.aggregation.json"):
            if (path := self.files.part(ending)) is not None:
                yield partial(read_json, path, fix="download the scan again")
        if (path := self.files.part("_2d-label-filt.zip")) is not None:
            yield partial(member_names, path)

    def _look_at_points(self) -> None:
        mesh = self.files.mesh()
        if mesh is not None:
            check_ply(mesh)
            self._point_labels(mesh, len(read_ply(mesh, labels=False).points))
        elif self.files.part("_vh_clean_2.labels.ply") or self.files.part("_vh_clean_2.0.010000.segs.json"):
            missing = f"{self.files.folder}/{self.name}_vh_clean_2.ply"
            raise InputError(f"{missing}: is missing, but labels of its vertices exist; download it again.")

    def _point_labels(self, mesh: Path, vertices: int) -> NDArray[np.uint8] | None:
        if not mesh.name.endswith("_vh_clean_2.ply"):
            return None  # labels belong to the vertices of the benchmark's mesh
        path = self.files.part("_vh_clean_2.labels.ply")
        if path is not None:
            return vertex_labels(path, vertices)
        segments = self.files.part("_vh_clean_2.0.010000.segs.json")
        aggregation = self.files.part(".aggregation.json") or self.files.part("_vh_clean.aggregation.json")
        if segments is None or aggregation is None or self.files.tsv is None:
            return None
        return segment_labels(segments, aggregation, read_categories(self.files.tsv), vertices)

    def _pose(self, exported: ExportedFrames, name: str) -> NDArray[np.float64] | None:
        matrix = read_pose_file(exported.file("pose", name)).matrix
        return matrix if np.isfinite(matrix).all() else None

    def _frames_of_folder(self, exported: ExportedFrames, faults: list[str] | None = None) -> tuple[Frame, ...]:
        frames: list[Frame] = []
        grid: Grid | None = None
        for name in exported.names()[:: self.every or 1]:
            try:
                pose, depth = self._pose(exported, name), exported.file("depth", name)
                if pose is None:
                    continue
                if not depth.is_file():
                    raise InputError(f"{depth}: is missing; unpack the scan's frames again.")
                grid = grid or self._grid(exported, name)
                frames.append(self._exported_frame(exported, name, pose, grid))
            except InputError as error:
                if faults is None:
                    raise
                faults.append(str(error))
        return self._some(frames, exported.folder)

    def _grid(self, exported: ExportedFrames, name: str) -> Grid:
        size = picture_size(exported.file("depth", name))
        return Grid(exported.intrinsics(exported.file("color", name), size), size, exported.depth_scale())

    def _exported_frame(self, exported: ExportedFrames, name: str, pose: NDArray[np.float64], grid: Grid) -> Frame:
        label = exported.file("label", name)
        truth = LabelPicture(label, nyu40_table()) if label.is_file() else self._truth_of_scan(name)
        picture, depth = ImageFile(exported.file("color", name)), MapFile(exported.file("depth", name))
        return self._frame(name, picture, grid.intrinsics, pose, grid.size, depth, grid.depth_scale, truth)

    def _frames_of_sens(self, sens: SensFile) -> tuple[Frame, ...]:
        frames = []
        for index in range(0, len(sens.frames), self.every or SENS_EVERY):
            pose = sens.frames[index].camera_to_world
            if np.isfinite(pose).all():
                name = f"{index:06d}"
                truth = self._truth_of_scan(str(index))
                size, scale = sens.depth_size, sens.depth_scale
                picture, depth = sens.colour(index), sens.depth(index)
                frames.append(self._frame(name, picture, sens.intrinsics_depth, pose, size, depth, scale, truth))
        return self._some(frames, sens.path)

    def _some(self, frames: list[Frame], where: Path) -> tuple[Frame, ...]:
        if not frames:
            raise InputError(f"{where}: none of the selected frames has a finite pose; select more with --every.")
        return tuple(frames[: self.limit])

    def _frame(
        self,
        name: str,
        picture: Raster,
        intrinsics: NDArray[np.float64],
        camera_to_world: NDArray[np.float64],
        size: tuple[int, int],
        depth: Raster,
        depth_scale: float,
        truth: LabelPicture | None,
    ) -> Frame:
        try:
            pose = np.asarray(np.linalg.inv(camera_to_world), dtype=np.float64)
            return Frame(name, picture, intrinsics, pose, size, depth, depth_scale, truth)
        except (InputError, np.linalg.LinAlgError) as error:
            where = self.files.folder if self.files.frames is None else self.files.frames.folder
            raise InputError(f"{where}: {error}") from error

    def _truth_of_scan(self, number: str) -> LabelPicture | None:
        """Return a frame's `label-filt` map of raw ids, unpacked or in its archive; None if it is missing."""
        if self.files.folder is None or self._tables is None:
            return None
        name = f"label-filt/{int(number) if number.isdigit() else number}.png"
        unpacked = self.files.folder / name
        if unpacked.is_file():
            return LabelPicture(unpacked, self._tables.of_id)
        archive = self.files.part("_2d-label-filt.zip")
        if archive is None or name not in self._archived:
            return None
        return LabelPicture(archive, self._tables.of_id, name)

    @cached_property
    def _tables(self) -> Categories | None:
        return None if self.files.tsv is None else read_categories(self.files.tsv)

    @cached_property
    def _archived(self) -> frozenset[str]:
        archive = self.files.part("_2d-label-filt.zip")
        if archive is None:
            return frozenset()
        return member_names(archive)
