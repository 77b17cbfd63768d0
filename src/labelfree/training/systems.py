"""The systems of the paper's Table 1: what a run trains and which labeller it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labelfree.config.run_config import RunConfig
from labelfree.config.training import TrainingPlan
from labelfree.labelling.consensus_labels import ConsensusLabels, SegmentVote
from labelfree.labelling.fusion import FusedLabels, SegmentSource
from labelfree.labelling.labellers import Labeller, NetworkLabels, RefinedLabels, TeacherLabels
from labelfree.labelling.openscene import OpenSceneLabels
from labelfree.nets.building import new_networks
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.run import Run, open_run
from labelfree.scene import Scene
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.teachers import Teachers
from labelfree.training.batches import worker_count
from labelfree.training.consensus_fitting import fitted
from labelfree.training.consensus_training import train_consensus
from labelfree.training.cotraining import train
from labelfree.training.distillation import distil
from labelfree.training.fused_scenes import FusedScenes
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.shared_labelling import label_scenes
from labelfree.vocabulary import Vocabulary


def cotrain(
    scenes: Sequence[Scene],
    vocabulary: Vocabulary,
    config: RunConfig,
    out: Path | str,
    teachers: Teachers | None = None,
) -> tuple[Segmenter2D, Segmenter3D]:
    """Train a 2D and a 3D network on scenes without labels; the same call with the same `out` resumes.

    Checkpoint and metrics are written to `out/training`, the networks to `out/networks/2d` and `out/networks/3d`. If
    `config.train.modalities` names one modality, the other network is returned untrained and is not written.
    Raises an `InputError` if `out` holds a run with other settings, classes, teachers or data.
    """
    run = open_run(scenes, vocabulary, config, out, teachers).begin()
    if run.fabric.device.type != "cpu" and config.train.workers:
        label_frames(scenes, run.teachers, run.fabric.device)  # worker processes cannot use the device
    return cotrain_run(run)


def cotrain_run(run: Run, labelled: bool = False) -> tuple[Segmenter2D, Segmenter3D]:
    """Train and save the networks of `train.modalities` of a run that has begun; return both networks.

    Several processes share the labelling first, unless the frames are `labelled` (`label_scenes`) already.
    """
    config, teachers = run.config, run.teachers
    _share_labelling(run, labelled)
    networks = new_networks(config, teachers.vocabulary, teachers.namer.text, run.scenes[0])
    scenes = LabelledScenes(run.scenes, teachers, config.memory_gb, config.train.epochs, config.train.sweeps)
    train(run.fabric, networks, scenes, training_plan(run), run.training_folder, run.identity.digest())
    if run.fabric.is_global_zero:
        for modality in config.train.modalities:
            networks.network(modality).save_pretrained(run.networks_folder / modality)
    return networks.net_2d, networks.net_3d


def cotrain_consensus(run: Run, labelled: bool = False) -> NetworkLabels:
    """Train and save the networks of a run that has begun on consensus labels. `labelled` is that of `cotrain_run`."""
    _share_labelling(run, labelled)
    networks, trained = train_consensus(run, training_plan(run)), run.config.train.modalities
    if run.fabric.is_global_zero:
        for modality in trained:
            networks.network(modality).save_pretrained(run.networks_folder / modality)
    net_2d, net_3d = networks.net_2d if "2d" in trained else None, networks.net_3d if "3d" in trained else None
    return NetworkLabels(net_2d, net_3d, "consensus", "networks trained on consensus labels")


def distil_openscene(run: Run, labelled: bool = False) -> Segmenter3D:
    """Train the 3D network of a run that has begun on fused CLIP features; save and return it.

    `labelled` is that of `cotrain_run`.
    """
    config, teachers = run.config, run.teachers
    _share_labelling(run, labelled)
    net_3d = new_networks(config, teachers.vocabulary, teachers.namer.text, run.scenes[0]).net_3d
    scenes = FusedScenes(run.scenes, teachers, config.memory_gb)
    distil(run.fabric, net_3d, scenes, training_plan(run), run.training_folder, run.identity.digest())
    if run.fabric.is_global_zero:
        net_3d.save_pretrained(run.networks_folder / "3d")
    return net_3d


def training_plan(run: Run) -> TrainingPlan:
    """Return the settings of training. The main process prepares batches if only it can run the teachers.

    Without a cache teachers label on access, and a worker process cannot use the GPU that its parent uses.
    """
    plan = run.config.plan()
    if plan.train.workers is None and run.teachers.cache is None:
        return replace(plan, train=replace(plan.train, workers=0))
    return plan


def _share_labelling(run: Run, labelled: bool) -> None:
    """Label before training in several processes, and for workers, which cannot use the GPU that their parent uses.

    A single process on a CPU labels each scene on first access.
    """
    fabric = run.fabric
    on_gpu = fabric.device.type != "cpu"
    workers = worker_count(training_plan(run).train, fabric.device, fabric.world_size) if on_gpu else 0
    if not labelled and (fabric.world_size > 1 or workers):
        label_scenes(run.fabric, run.scenes, run.teachers)


def train_networks(run: Run, labelled: bool = False) -> NetworkLabels:
    """Train and save both networks of system `cns` or `consensus`. `labelled` is that of `cotrain_run`."""
    return cotrain_consensus(run, labelled) if run.config.system == "consensus" else cotrain_networks(run, labelled)


def cotrain_networks(run: Run, labelled: bool = False) -> NetworkLabels:
    """Co-train and save the networks of `train.modalities`. `labelled` is that of `cotrain_run`."""
    net_2d, net_3d = cotrain_run(run, labelled)
    trained = run.config.train.modalities
    return NetworkLabels(net_2d if "2d" in trained else None, net_3d if "3d" in trained else None)


def delivered(run: Run, networks: NetworkLabels) -> Labeller:
    """Return the networks, fused with `predict.fuse`."""
    if not run.config.predict.fuse:
        return networks
    source = SegmentSource.of(run.teachers, run.config.consensus.level)
    return FusedLabels(networks, source, run.config.predict, run.config.consensus.reach_px)


def train_system(run: Run, labelled: bool = False) -> Labeller:
    """Train the system of a run that has begun and return its labeller; it resumes like `cotrain`.

    `cns` with its settings covers MaskCLIP+, CLIP2Scene and every ablation; `clip` and `clip+sam` train nothing.
    `labelled` is that of `cotrain_run`.
    """
    labeller = _labeller(run, labelled)
    if isinstance(labeller, NetworkLabels):
        labeller = delivered(run, labeller)
    return RefinedLabels(labeller, run.teachers) if run.config.predict.refine else labeller


def _labeller(run: Run, labelled: bool) -> Labeller:
    config = run.config
    match config.system:
        case "cns" | "consensus":
            return train_networks(run, labelled)
        case "consensus-labels":
            _share_labelling(run, labelled)
            return ConsensusLabels(run.teachers, fitted(run)[0])
        case "clip+sam+segments":
            return SegmentVote(TeacherLabels(run.teachers, True), config.consensus)
        case "clip" | "clip+sam":
            return TeacherLabels(run.teachers, config.system == "clip+sam", config.predict.views)
        case "openscene":
            return OpenSceneLabels(run.teachers, distil_openscene(run, labelled))
