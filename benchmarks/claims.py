"""Say for each claim of the paper whether the lab's tables agree: holds, holds only with one loss, does not hold.

    python -m benchmarks.claims results/lab results/lab/street

Each folder has tables of one world: `table1.json` and `table2.json` with the lab's loss, `table1-paper.json` and
`table2-paper.json` with the paper's loss. A claim is that one row is above another. It is tested on the differences
paired by seed, with Holm's correction over all claims of a folder, loss and modality. The command prints a Markdown
table and writes `claims.json` and `claims.md` into each folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labelfree.files.atomic import write_text
from labelfree.paper_tables.rows import LOSSES, Loss
from labelfree.paper_tables.statistics import LEVEL, Estimate, holm, paired_difference

Side = Literal["2d", "3d"]
Sign = Literal["above", "below", "open"]
SIDES: tuple[Side, ...] = ("2d", "3d")


@dataclass(frozen=True)
class Claim:
    """A statement of the paper: row `upper` of a table is above row `lower`."""

    text: str
    table: int
    upper: str
    lower: str


CLAIMS = (
    Claim("CNS is better than MaskCLIP", 1, "cns", "maskclip"),
    Claim("CNS is better than MaskCLIP++", 1, "cns", "maskclip++"),
    Claim("CNS is better than OpenScene", 1, "cns", "openscene"),
    Claim("CNS is better than CLIP2Scene", 1, "cns", "clip2scene"),
    Claim("The vote inside SAM's masks improves CLIP's labels", 2, "wo_cns", "baseline"),
    Claim("The trained networks are better than the labels they learn from", 2, "full", "wo_cns"),
    Claim("Training on refined labels is better than training on CLIP's labels", 2, "full", "wo_refine"),
    Claim("Refining labels before training is better than refining predictions after it", 2, "full", "post_refine"),
    Claim("Co-training with the other modality helps", 2, "full", "wo_ct"),
    Claim("Labels of the networks themselves help", 2, "full", "wo_sct"),
    Claim("Without CLIP's labels in stage two, training collapses", 2, "full", "wo_clip"),
    Claim("Consistency with SAM's features helps", 2, "full", "latent_none"),
    Claim("SAM's features are better for it than CLIP's", 2, "full", "latent_clip"),
    Claim("SAM's features are better for it than those of SAM and CLIP", 2, "full", "latent_sam_clip"),
    Claim("Half of the images per step are too few", 2, "full", "images_half"),
)

VERDICTS: Mapping[tuple[Sign, Sign], str] = {
    ("above", "above"): "holds",
    ("above", "open"): "holds only with the lab's loss",
    ("above", "below"): "holds only with the lab's loss",
    ("open", "above"): "holds only with the paper's loss",
    ("below", "above"): "holds only with the paper's loss",
    ("below", "below"): "does not hold: the reverse does",
    ("below", "open"): "does not hold; the reverse does with the lab's loss",
    ("open", "below"): "does not hold; the reverse does with the paper's loss",
    ("open", "open"): "does not hold: no significant difference",
}
"""The verdict on a claim, from its sign with the lab's loss and with the paper's."""


@dataclass(frozen=True)
class Finding:
    """A claim's difference in one modality and version of the table."""

    measured: Estimate
    p_holm: float
    """p-value after the correction; 1 for fewer than two seeds."""

    @property
    def sign(self) -> Sign:
        """Return whether the upper row is significantly above the lower one, below it, or neither."""
        if self.p_holm >= 1 - LEVEL:
            return "open"
        return "above" if self.measured.mean > 0 else "below"


def findings(tables: Mapping[int, Mapping[str, Any]], side: Side) -> dict[Claim, Finding]:
    """Return the finding of each claim whose rows the tables have, given their JSON by number of the table."""
    measured = {claim: found for claim in CLAIMS if (found := _difference(tables.get(claim.table), claim, side))}
    tested = [claim for claim, found in measured.items() if found.p_value is not None]
    corrected = dict(zip(tested, holm([measured[claim].p_value or 0.0 for claim in tested])))
    return {claim: Finding(found, corrected.get(claim, 1.0)) for claim, found in measured.items()}


def verdict(by_loss: Mapping[Loss, Finding]) -> str:
    """Return the verdict on a claim from its findings with each loss; `not measured` if one is missing."""
    if not all(loss in by_loss for loss in LOSSES):
        return "not measured with both losses"
    return VERDICTS[by_loss["lab"].sign, by_loss["paper"].sign]


def _difference(table: Mapping[str, Any] | None, claim: Claim, side: Side) -> Estimate | None:
    rows = (table or {}).get("rows", {})
    values = [rows.get(row, {}).get(f"miou_{side}") for row in (claim.upper, claim.lower)]
    if any(not isinstance(each, list) for each in values):
        return None
    count = max(map(len, values))
    upper, lower = ([*each, *[None] * (count - len(each))] for each in values)
    return paired_difference(upper, lower)


def claims_of(folder: Path) -> list[dict[str, Any]]:
    """Return plain data: for each claim and modality the differences with both losses and the verdict."""
    versions: dict[Loss, dict[int, Mapping[str, Any]]] = {loss: _tables(folder, loss) for loss in LOSSES}
    found: dict[Side, dict[Loss, dict[Claim, Finding]]] = {
        side: {loss: findings(tables, side) for loss, tables in versions.items()} for side in SIDES
    }
    page = []
    for claim in CLAIMS:
        for side in SIDES:
            by_loss = {loss: each[claim] for loss, each in found[side].items() if claim in each}
            if by_loss:
                plain: dict[str, Any] = {loss: _plain(finding) for loss, finding in by_loss.items()}
                page.append({"claim": claim.text, "rows": [claim.upper, claim.lower], "modality": side, **plain})
                page[-1]["verdict"] = verdict(by_loss)
    return page


def claims_markdown(page: Sequence[Mapping[str, Any]]) -> str:
    """Return the claims as a table: differences in points of mIoU with 95 % intervals."""
    head = "| claim of the paper | | lab's loss | paper's loss | verdict |\n| --- | --- | ---: | ---: | --- |\n"
    return head + "".join(
        f"| {each['claim']} | {each['modality'].upper()} | {_shown(each.get('lab'))} | {_shown(each.get('paper'))} | "
        f"{each['verdict']} |\n"
        for each in page
    )


def _tables(folder: Path, loss: Loss) -> dict[int, Mapping[str, Any]]:
    suffix = "" if loss == "lab" else f"-{loss}"
    paths = {number: folder / f"table{number}{suffix}.json" for number in (1, 2)}
    return {number: json.loads(path.read_text(encoding="utf-8")) for number, path in paths.items() if path.is_file()}


def _plain(finding: Finding) -> dict[str, Any]:
    measured, interval = finding.measured, finding.measured.interval
    return {
        "mean": round(measured.mean, 3),
        "interval": None if interval is None else [round(interval.low, 3), round(interval.high, 3)],
        "seeds": measured.count,
        "p_holm": round(finding.p_holm, 4),
    }


def _shown(plain: Mapping[str, Any] | None) -> str:
    if plain is None:
        return "–"
    reach = "" if plain["interval"] is None else f" ± {(plain['interval'][1] - plain['interval'][0]) / 2:.1f}"
    return f"{plain['mean']:+.1f}{reach}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders with tables of one world each")
    for folder in parser.parse_args().folders:
        page = claims_of(folder)
        text = claims_markdown(page)
        write_text(folder / "claims.json", json.dumps(page, indent=1) + "\n")
        write_text(folder / "claims.md", text)
        print(f"{folder}\n\n{text}")


if __name__ == "__main__":
    main()
