"""The rows of the paper's Tables 1 and 2, and of Tables 3 and 4: names, an overlay over a recipe, paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from labelfree.errors import InputError

ROWS_DIR = Path(__file__).parent / "rows"
TUNED_DIR = Path(__file__).parent / "tuned"
"""For each of the lab's worlds a folder with the tuned settings of each system (`benchmarks/tuning.py`)."""

SYSTEMS = ("maskclip++", "openscene", "clip2scene", "cns")
"""The systems that are trained, each a row of Table 1; each is tuned, and Tables 2 and 3 have the settings of `cns`."""

Loss = Literal["lab", "paper"]
"""Version of a table: `lab` trains with the recipe's loss, `paper` with Eq. 5-7 as printed."""

LOSSES: tuple[Loss, ...] = get_args(Loss)

LOSS_OVERLAYS: dict[Loss, tuple[Path, ...]] = {"lab": (), "paper": (Path(__file__).parent / "paper_loss.yaml",)}
"""The overlays of a version, which come after those of a row."""


@dataclass(frozen=True)
class PaperValues:
    """mIoU in percent as printed in the paper; None where it has no number."""

    miou_2d: float | None = None
    miou_3d: float | None = None


@dataclass(frozen=True)
class Row:
    """One row of a table: its names, the settings that it changes and the paper's values."""

    name: str
    title: str
    """The name in the paper."""
    overlay: str
    """File in `rows/`, without `.yaml`: only the settings that differ from the full method."""
    scannet: PaperValues
    outdoor: PaperValues = PaperValues()
    """2D on nuImages, 3D on nuScenes."""

    def path(self, world: str | None = None) -> Path:
        """Return the path of the overlay; `NAME.WORLD.yaml` if one of the lab's worlds has its own."""
        own = ROWS_DIR / f"{self.overlay}.{world}.yaml"
        return own if own.is_file() else ROWS_DIR / f"{self.overlay}.yaml"

    def tuned(self, world: str | None) -> Path:
        """Return the path of the tuned settings of its system, whether or not there are any."""
        system = self.name if self.name in SYSTEMS else "cns"
        return TUNED_DIR / str(world) / f"{system}.yaml"

    def paper(self, world: str) -> PaperValues:
        """Return the paper's values for a world: those of nuImages and nuScenes outdoors, else of ScanNet."""
        stem = Path(world).stem
        if stem.startswith("nuscenes"):
            return PaperValues(None, self.outdoor.miou_3d)  # nuScenes' images have no ground truth
        return self.outdoor if stem.startswith("streets") else self.scannet


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables."""

    number: int
    title: str
    rows: tuple[Row, ...]
    full: str
    """The row of the full method, which every other row is compared with."""
    baseline: str
    """The row that the paper's gains are counted from."""

    def row(self, name: str) -> Row:
        """Return a row by name. Raises an `InputError` if there is no such row."""
        for row in self.rows:
            if row.name == name:
                return row
        known = ", ".join(row.name for row in self.rows)
        raise InputError(f"Table {self.number} has no row '{name}'; its rows are {known}.")


def _row(name: str, title: str, overlay: str, scannet: tuple[float, float], *outdoor: float) -> Row:
    return Row(name, title, overlay, PaperValues(*scannet), PaperValues(*outdoor))


TABLE_1 = PaperTable(
    1,
    "Comparison with label-free methods",
    (
        _row("maskclip", "MaskCLIP", "maskclip", (17.3, 14.2), 14.1, 12.8),
        _row("maskclip++", "MaskCLIP++", "maskclip_plus", (20.3, 21.6), 17.3, 15.3),
        _row("openscene", "OpenScene", "openscene", (14.2, 16.8), 12.4, 14.6),
        _row("clip2scene", "CLIP2Scene", "clip2scene", (23.7, 25.6), 18.6, 20.8),
        _row("cns", "Ours", "full", (28.4, 33.5), 22.1, 26.8),
    ),
    full="cns",
    baseline="maskclip",
)

TABLE_2 = PaperTable(
    2,
    "Ablation study",
    (
        _row("baseline", "Baseline", "baseline", (17.3, 14.2)),
        _row("wo_cns", "w/o CNS", "wo_cns", (24.5, 19.4)),
        _row("wo_refine", "w/o Refine", "wo_refine", (23.7, 30.6)),
        _row("post_refine", "Post-Refine", "post_refine", (28.1, 33.2)),
        _row("wo_ct", "w/o CT", "wo_ct", (27.7, 31.0)),
        _row("wo_sct", "w/o SCT", "wo_sct", (24.7, 30.6)),
        _row("wo_clip", "w/o CLIP", "wo_clip", (4.7, 5.1)),
        _row("latent_clip", "Latent space: CLIP", "latent_clip", (27.3, 32.4)),
        _row("latent_sam_clip", "Latent space: SAM+CLIP", "latent_sam_clip", (27.8, 32.5)),
        _row("latent_none", "Latent space: None", "latent_none", (27.1, 32.0)),
        _row("images_half", "Images: 8", "images_half", (27.9, 33.0)),
        _row("images_double", "Images: 32", "images_double", (28.3, 33.3)),
        _row("full", "Ours", "full", (28.4, 33.5)),
    ),
    full="full",
    baseline="baseline",
)

NO_VALUES = (PaperValues(), PaperValues())

TABLE_3 = PaperTable(
    3,
    "Initial weights of the networks",
    (
        Row("wo_cns", "Labels of CLIP and SAM", "wo_cns", *NO_VALUES),
        Row("start_none", "Random", "start_none", *NO_VALUES),
        Row("start_selfsup", "Self-supervision", "start_selfsup", *NO_VALUES),
        Row("start_tags", "Image tags", "start_tags", *NO_VALUES),
    ),
    full="start_selfsup",
    baseline="wo_cns",
)
"""Not in the paper, and only in the lab's worlds: what the networks gain over their labels from each start."""

TABLE_4 = PaperTable(
    4,
    "Segments and consensus",
    (
        Row("clip_sam", "Labels of CLIP and SAM", "wo_cns", *NO_VALUES),
        Row("clip_sam_segments", "Labels of CLIP and SAM, voted in segments", "clip_sam_segments", *NO_VALUES),
        Row("consensus_labels", "Consensus labels", "consensus_labels", *NO_VALUES),
        Row("cns", "CNS", "full", *NO_VALUES),
        Row("cns_fuse", "CNS, fused", "cns_fuse", *NO_VALUES),
        Row("consensus_networks", "Networks trained on consensus labels", "consensus_networks", *NO_VALUES),
        Row("consensus", "Networks trained on consensus labels, fused", "consensus", *NO_VALUES),
    ),
    full="consensus",
    baseline="cns",
)
"""Not in the paper: segments and consensus labels, and what fusion of finished networks adds to either system."""

TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_4)

ALL_ROWS = (*TABLE_2.rows, *TABLE_1.rows, *TABLE_3.rows, *TABLE_4.rows)
"""Every row; rows with equal settings share one run, which is named after the first of them."""


def paper_table(number: int) -> PaperTable:
    """Return a table by number. Raises an `InputError` if there is none."""
    for table in TABLES:
        if table.number == number:
            return table
    raise InputError(
        f"There is no table {number}: the paper's tables are 1 and 2, 3 compares initial weights, 4 consensus labels."
    )
