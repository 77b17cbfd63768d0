"""The systems of the paper's Table 1: what a run trains, if anything, and the labeller that comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_fabric import Fabric

from labelfree.comparison import Labeller, NetworkLabels, OpenSceneLabels, RefinedLabels, TeacherLabels
from labelfree.config import RunConfig
from labelfree.nets.segmenters import Segmenter3D
from labelfree.pipeline import cotrain, load_teachers, make_fabric, new_networks
from labelfree.scene import Scene
from labelfree.training.distil import distil
from labelfree.training.fused_scenes import FusedScenes
from labelfree.training.labelled_scenes import Teachers
from labelfree.vocabulary import Vocabulary


def train_system(
    scenes: Sequence[Scene],
    vocabulary: Vocabulary,
    config: RunConfig,
    out: Path | str,
    teachers: Teachers | None = None,
    fabric: Fabric | None = None,
) -> Labeller:
    """Train what `config.system` trains and return its labeller; goes on where an earlier call with `out` stopped.

    `cns` with its switches covers MaskCLIP+, CLIP2Scene and every ablation; `clip` and `clip+sam` train nothing.
    """
    fabric, out = fabric or make_fabric(precision=config.train.precision), Path(out)
    teachers = teachers or load_teachers(config.teachers, config.labels, vocabulary, out / "cache", fabric.device)
    labeller = _labeller(scenes, vocabulary, config, out, teachers, fabric)
    return RefinedLabels(labeller, teachers, config.labels, config.pairing) if config.predict.refine else labeller


def distil_openscene(
    scenes: Sequence[Scene],
    vocabulary: Vocabulary,
    config: RunConfig,
    out: Path | str,
    teachers: Teachers,
    fabric: Fabric,
) -> Segmenter3D:
    """Train the 3D network on fused dense CLIP features; goes on where an earlier call with the same `out` stopped.

    Checkpoint and metrics are written to `out/training`, the network to `out/networks/3d`.
    """
    net_3d = new_networks(config, vocabulary, teachers.namer.text, scenes[0]).net_3d
    fused = FusedScenes(scenes, teachers.namer, config.labels.image_size, config.pairing, config.memory_gb)
    distil(fabric, net_3d, fused, config.plan(), Path(out) / "training")
    if fabric.is_global_zero:
        net_3d.save_pretrained(Path(out) / "networks" / "3d")
    return net_3d


def _labeller(
    scenes: Sequence[Scene], vocabulary: Vocabulary, config: RunConfig, out: Path, teachers: Teachers, fabric: Fabric
) -> Labeller:
    voted, views = config.system == "clip+sam", config.predict.views
    match config.system:
        case "cns":
            net_2d, net_3d = cotrain(scenes, vocabulary, config, out, teachers, fabric)
            trained = config.train.modalities
            return NetworkLabels(net_2d if "2d" in trained else None, net_3d if "3d" in trained else None)
        case "clip" | "clip+sam":
            return TeacherLabels(teachers, config.labels, config.pairing, vocabulary, voted, views)
        case "openscene":
            clip = TeacherLabels(teachers, config.labels, config.pairing, vocabulary, voted=False)
            return OpenSceneLabels(clip, distil_openscene(scenes, vocabulary, config, out, teachers, fabric))
