"""Compare the readers with other tools on the same files: nuscenes-devkit (nuScenes, nuImages), scenezoo (ScanNet).

    python -m venv /tmp/devkit && /tmp/devkit/bin/pip install nuscenes-devkit==1.2.0       # needs numpy < 2
    python benchmarks/peers.py nuscenes ../shared/data/nuscenes-keyframe --python /tmp/devkit/bin/python
    labelfree lab write --layout nuscenes --out /tmp/nuscenes --scenes 2 --seed 5
    python benchmarks/peers.py nuscenes /tmp/nuscenes --python /tmp/devkit/bin/python
    labelfree lab write --layout nuimages --out /tmp/nuimages --scenes 2 --seed 5
    python benchmarks/peers.py nuimages /tmp/nuimages --split val --python /tmp/devkit/bin/python
    python -m venv /tmp/zoo && /tmp/zoo/bin/pip install scenezoo==0.3.1
    labelfree lab write --layout scannet --out /tmp/scannet --scenes 2 --seed 5
    python benchmarks/peers.py scannet /tmp/scannet --python /tmp/zoo/bin/python
    labelfree train /tmp/nuscenes --split train --recipe streets --classes nuscenes16 --out /tmp/run --train.epochs=4
    labelfree evaluate /tmp/run /tmp/nuscenes --split val --networks-only
    labelfree predict /tmp/run /tmp/nuscenes --split val --out /tmp/submission --submission
    python benchmarks/peers.py lidarseg /tmp/nuscenes --split val --submission /tmp/submission --run /tmp/run \\
        --python /tmp/devkit/bin/python

The other tool reads the folder in its own interpreter and writes the result to an .npz file. labelfree reads the same
folder, and the script prints the differences. A difference is an error of a reader, of a writer or of the other tool.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
WHAT = ("nuscenes", "nuimages", "scannet", "lidarseg")

Found = dict[str, NDArray[Any]]


# --- runs in the interpreter of the other tool, without labelfree


def devkit_nuscenes(root: str, split: str, count: int) -> Found:
    from nuscenes.eval.lidarseg.utils import LidarsegClassMapper
    from nuscenes.nuscenes import NuScenes
    from nuscenes.utils.data_io import load_bin_file

    version = next(path.name for path in sorted(Path(root).glob("v1.0-*")))
    tables = NuScenes(version, root, verbose=False)
    labelled = hasattr(tables, "lidarseg")
    if labelled:
        tables.list_lidarseg_categories(sort_by="index")
    found: Found = {}
    for sample in tables.sample[:count]:
        lidar = sample["data"]["LIDAR_TOP"]
        for camera in CAMERAS:
            points, depth, _ = tables.explorer.map_pointcloud_to_image(lidar, sample["data"][camera])
            found[f"{lidar}/{camera}"] = np.vstack((points[:2], depth)).T
        if labelled:
            raw = load_bin_file(str(Path(root) / tables.get("lidarseg", lidar)["filename"]))
            found[f"{lidar}/lidarseg"] = LidarsegClassMapper(tables).convert_label(raw)
    return found


def devkit_lidarseg(root: str, split: str, submission: str) -> Found:
    """Validate and evaluate a submission; an unofficial split consists of the scenes with submitted files."""
    from nuscenes.eval.lidarseg import evaluate, validate_submission
    from nuscenes.nuscenes import NuScenes

    version = next(path.name for path in sorted(Path(root).glob("v1.0-*")))
    tables = NuScenes(version, root, verbose=False)
    given = {path.name.split("_")[0] for path in (Path(submission) / "lidarseg" / split).iterdir()}
    for module in (evaluate, validate_submission):
        module.get_samples_in_eval_set = lambda tables, split: [
            sample["token"] for sample in tables.sample if sample["data"]["LIDAR_TOP"] in given
        ]
    validate_submission.validate_submission(tables, submission, split, verbose=True)
    results = evaluate.LidarSegEval(tables, submission, eval_set=split).evaluate()
    names, ious = zip(*results["iou_per_class"].items())
    return {"names": np.array(names), "iou": np.array(ious, float), "miou": np.array(results["miou"])}


def devkit_nuimages(root: str, split: str, count: int) -> Found:
    from nuimages import NuImages
    from nuimages.utils.utils import name_to_index_mapping

    tables = NuImages(f"v1.0-{split}", root, verbose=False)
    index = name_to_index_mapping(tables.category)
    found: Found = {"names": np.array(sorted(index, key=index.get)), "ids": np.array(sorted(index.values()))}
    for sample in tables.sample[:count]:
        name = Path(tables.get("sample_data", sample["key_camera_token"])["filename"]).stem
        found[name] = tables.get_segmentation(sample["key_camera_token"])[0]
    return found


def scenezoo_scannet(root: str, split: str, count: int) -> Found:
    from scenezoo.dataset.scene.scannet import ScanNet
    from scenezoo.io.sens import read_sens_frames, read_sens_index

    lists = {f"{name}_split_file": f"scannetv2_{name}.txt" for name in ("train", "val")}
    scans = ScanNet(root, **lists, test_split_file="scannetv2_val.txt", offline=True)
    print(scans.check())
    found: Found = {}
    for name in sorted(path.name for path in (Path(root) / "scans").iterdir())[:count]:
        found[f"{name}/points"] = np.asarray(scans.get_mesh(name).vertices)
        found[f"{name}/nyu40"] = scans.get_segmentation(name, segmentation_type="semantic").labels
        index = read_sens_index(Path(root) / "scans" / name / f"{name}.sens")
        taken = np.arange(index.frame_count)
        pictures = read_sens_frames(index, taken, rgb=True, depth=True)
        print(name, scans.get_scene_info(name))
        found |= {f"{name}/rgb": pictures["rgb"], f"{name}/depth": pictures["depth"] / index.depth_shift}
        found[f"{name}/poses"] = index.camera_to_world[taken]
        found[f"{name}/intrinsics"] = index.depth_intrinsic
    return found


# --- runs in the interpreter of labelfree


def compare_nuscenes(root: Path, split: str, theirs: Found) -> None:
    from labelfree.data.layout import ReadOptions
    from labelfree.data.nuscenes.layout import open_nuscenes
    from labelfree.data.nuscenes.reader import KeyFrameSource
    from labelfree.vocabulary import IGNORE_LABEL

    worst = 0.0
    pixels = repeated = labels = differing = frames = 0
    for source in open_nuscenes(root, None, ReadOptions()).sources:
        assert isinstance(source, KeyFrameSource)
        token = source.index.token(source.index.reading(source.sample, source.index.lidar))
        if f"{token}/{CAMERAS[0]}" not in theirs:
            continue
        frames += 1
        scene = source.build()
        for frame in scene.frames:
            expected = theirs[f"{token}/{frame.name.upper()}"]
            camera = scene.points_world @ frame.world_to_camera[:3, :3].T + frame.world_to_camera[:3, 3]
            depth = camera[:, 2]
            with np.errstate(divide="ignore", invalid="ignore"):
                seen = (camera @ frame.intrinsics.T)[:, :2] / depth[:, None]
            height, width = frame.size
            kept = (depth > 0.9) & (seen > 0).all(1) & (seen[:, 0] < width) & (seen[:, 1] < height)
            ours = np.column_stack((seen, depth))[kept]
            if not len(expected):
                continue
            nearest = [np.abs(ours - point).max(1).argmin() for point in expected]
            worst = max(worst, float(np.abs(ours[nearest] - expected).max()))
            pixels += len(set(nearest))
            repeated += len(expected) - len(set(nearest))
        if scene.labels is not None and f"{token}/lidarseg" in theirs:
            theirs_16 = theirs[f"{token}/lidarseg"].astype(int) - 1  # class 0 of the devkit is void
            ours_16 = np.where(scene.labels == IGNORE_LABEL, -1, scene.labels.astype(int))
            labels, differing = labels + len(ours_16), differing + int((ours_16 != theirs_16).sum())
    print(f"{frames} key frames, {pixels} projected points, {repeated} of the devkit's not told apart")
    print(f"largest difference {worst:.4f} (pixels, metres of depth)")
    print(f"lidarseg: {labels} points, {differing} with another class")


def compare_nuimages(root: Path, split: str, theirs: Found) -> None:
    from labelfree.data.layout import ReadOptions
    from labelfree.data.nuimages.layout import CLASSES, open_nuimages
    from labelfree.data.nuscenes.lidarseg import MERGED
    from labelfree.vocabulary import IGNORE_LABEL

    ids = dict(zip(theirs.pop("names").tolist(), theirs.pop("ids").tolist()))
    table = np.full(256, IGNORE_LABEL, np.uint8)
    for number, name in enumerate(CLASSES):
        for raw in MERGED[name]:
            table[ids[raw]] = number
    pixels = differing = 0
    sources = {source.name: source for source in open_nuimages(root, None, ReadOptions(split=split)).sources}
    for name, semantic in theirs.items():
        labels = sources[name].build().frames[0].labels
        assert labels is not None
        ours, expected = labels.load(), table[semantic]
        pixels, differing = pixels + ours.size, differing + int((ours != expected).sum())
    print(f"{len(theirs)} pictures, {pixels} pixels: {differing} with another class")


def compare_scannet(root: Path, split: str, theirs: Found) -> None:
    from labelfree.data.scannet.labels import nyu40_table
    from labelfree.data.scannet.reader import ScanFiles, ScanSource
    from labelfree.data.scannet.sens import open_sens

    for name in sorted({key.split("/")[0] for key in theirs}):
        source = ScanSource(ScanFiles(name, root / "scans" / name, None, root / "scannetv2-labels.combined.tsv"), 1)
        scene, sens = source.build(), open_sens(root / "scans" / name / f"{name}.sens")
        here = {key.split("/")[1]: value for key, value in theirs.items() if key.startswith(f"{name}/")}
        points = np.abs(scene.points_world - here["points"]).max()
        labels = int((scene.labels != nyu40_table()[here["nyu40"]]).sum()) if scene.labels is not None else -1
        poses = max(
            float(np.abs(np.linalg.inv(f.world_to_camera) - p).max()) for f, p in zip(scene.frames, here["poses"])
        )
        depths = max(float(np.abs(f.load_depth_m() - d).max()) for f, d in zip(scene.frames, here["depth"]))
        images = max(int(np.abs(f.image.load().astype(int) - p).max()) for f, p in zip(scene.frames, here["rgb"]))
        print(
            f"{name}: {len(scene.points_world)} vertices differ by up to {points:.1e} m, {labels} labels differ; "
            f"{len(scene.frames)} of {len(sens.frames)} frames: poses by up to {poses:.1e}, depth {depths:.1e} m, "
            f"colours {images} of 255"
        )


def compare_lidarseg(root: Path, run: Path, theirs: Found) -> None:
    (ours,) = (m["evaluation_3d"] for m in json.loads((run / "evaluation.json").read_text())["methods"].values())
    iou = {name.replace(" ", "_"): value for name, value in ours["iou"].items()}
    expected = dict(zip(theirs["names"].tolist(), theirs["iou"].tolist()))
    worst = max(abs(iou[name] - expected[name]) for name in iou if iou[name] is not None)
    absent = [name for name, value in iou.items() if value is None]
    print(f"{len(iou)} classes: IoUs differ by up to {worst:.1e}; absent here: {', '.join(absent) or 'none'}")
    print(f"mIoU {ours['miou']:.4f}, the devkit's {float(theirs['miou']):.4f}")


THEIRS = {"nuscenes": devkit_nuscenes, "nuimages": devkit_nuimages, "scannet": scenezoo_scannet}
OURS = {"nuscenes": compare_nuscenes, "nuimages": compare_nuimages, "scannet": compare_scannet}


def _write(file: Path, found: dict[str, Any]) -> None:
    np.savez(file, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", choices=WHAT)
    parser.add_argument("root", type=Path)
    parser.add_argument("--python", type=Path, help="interpreter that has the other tool")
    parser.add_argument("--split", default="val", help="nuImages' split")
    parser.add_argument("--count", type=int, default=8, help="key frames, pictures or scans that are read")
    parser.add_argument("--submission", type=Path, help="lidarseg: what labelfree predict --submission wrote")
    parser.add_argument("--run", type=Path, help="lidarseg: the run whose evaluation.json is compared")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None and options.submission is not None:
        _write(options.write, devkit_lidarseg(str(options.root), options.split, str(options.submission)))
        return
    if options.write is not None:  # runs in the interpreter of the other tool
        _write(options.write, THEIRS[options.layout](str(options.root), options.split, options.count))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "theirs.npz"
        command = [options.python, __file__, options.layout, options.root, "--split", options.split]
        command += ["--count", options.count, "--write", file]
        command += ["--submission", options.submission] if options.submission else []
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run(list(map(str, command)), check=True, env=environment)
        with np.load(file) as arrays:
            if options.layout == "lidarseg":
                compare_lidarseg(options.root, options.run, dict(arrays))
                return
            OURS[options.layout](options.root, options.split, dict(arrays))


if __name__ == "__main__":
    main()
