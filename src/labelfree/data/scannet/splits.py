"""Select the scans of ScanNet's splits by the official lists beside the scans, else by the published scene numbers.

The lists divide scenes, never the scans of one scene: 707 scenes (1,513 scans) are train and val, 100 more are test
(https://github.com/ScanNet/ScanNet/tree/master/Tasks/Benchmark, version 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelfree.errors import InputError
from labelfree.files.documents import read_text

LISTS = (".", "splits", "Tasks/Benchmark", "tasks/benchmark", "scannetv2", "meta_data")
"""Folders that are searched for the official lists and the label file."""
ANNOTATED_SCENES = 707
VAL_SCENES = frozenset((
    11, 15, 19, 25, 30, 46, 50, 63, 64, 77, 81, 84, 86, 88, 95, 100, 131, 139, 144, 146, 149, 153, 164, 169, 187,
    193, 196, 203, 207, 208, 217, 221, 222, 231, 246, 249, 251, 256, 257, 277, 278, 300, 304, 307, 314, 316, 328,
    329, 334, 338, 342, 343, 351, 353, 354, 355, 356, 357, 377, 378, 382, 389, 406, 412, 414, 423, 426, 427, 430,
    432, 435, 441, 458, 461, 462, 474, 488, 490, 494, 496, 500, 518, 527, 535, 549, 550, 552, 553, 558, 559, 565,
    568, 574, 575, 578, 580, 583, 591, 593, 595, 598, 599, 606, 607, 608, 609, 616, 618, 621, 629, 633, 643, 644,
    645, 647, 648, 651, 652, 653, 655, 658, 660, 663, 664, 665, 670, 671, 678, 684, 685, 686, 689, 690, 693, 695,
    696, 697, 699, 700, 701, 702, 704,
))  # fmt: skip
SPLITS = ("train", "val", "test")


def split_scans(path: Path, split: str, there: Sequence[str]) -> list[str]:
    """Return which of these scans are in a split, by a list beside them or else by the published scene numbers.

    Raises an `InputError` if the split is unknown or none of its scans is present.
    """
    for place in LISTS:
        for file in (f"scannetv2_{split}.txt", f"{split}.txt"):
            if (path / place / file).is_file():
                wanted = read_text(path / place / file, strict=False).split()
                found = [name for name in wanted if name in set(there)]
                if not found:
                    raise InputError(f"{path / place / file}: none of its {len(wanted)} scans is in {path}.")
                return found
    if split not in SPLITS:
        raise InputError(
            f"--split is '{split}': ScanNet has {', '.join(SPLITS)}; a split of your own goes into {path / split}.txt, "
            "one scan per line."
        )
    found = [name for name in there if split_of(name) == split]
    if not found:
        raise InputError(f"{path}: none of its {len(there)} scans is in ScanNet's split '{split}'.")
    return found


def split_of(scan: str) -> str | None:
    """Return the published split of a scan such as scene0568_02; None for other names."""
    number = scan.removeprefix("scene").split("_")[0]
    if not number.isdigit():
        return None
    if int(number) >= ANNOTATED_SCENES:
        return "test"
    return "val" if int(number) in VAL_SCENES else "train"
