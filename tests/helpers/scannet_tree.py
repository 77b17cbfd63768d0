"""Files of a ScanNet tree by the name of the scan."""

from __future__ import annotations

from pathlib import Path

NAME = "scene0000_00"


def scan(tree: Path, ending: str) -> Path:
    return tree / "scans" / NAME / f"{NAME}{ending}"


def frames(tree: Path, file: str) -> Path:
    return tree / "scannet_frames_25k" / NAME / file


def by_segments(tree: Path) -> None:
    scan(tree, "_vh_clean_2.labels.ply").unlink()
