"""Build the two networks of a run from its configuration and seed."""

from __future__ import annotations

import torch

from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.nets.cotrained import CoTrained
from labelfree.nets.point_features import point_features
from labelfree.nets.segmenters import Segmenter, Segmenter2D, Segmenter3D
from labelfree.runtime.lab import starting_weights
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


def new_networks(config: RunConfig, vocabulary: Vocabulary, text: torch.Tensor, scene: Scene) -> CoTrained:
    """Build both networks from the seed, with the vocabulary's text embeddings [K, E] as frozen classifier.

    Raises an `InputError` if the scene has no points or starting weights do not fit.
    """
    if scene.images_only:
        raise InputError(f"Scene '{scene.name}' has images but no points: evaluate a trained run on it, or predict.")
    torch.manual_seed(config.seed)
    net_2d = Segmenter2D(config.networks.net_2d.with_inputs(config.labels.image_size, text.shape[1]), text, vocabulary)
    channels = point_features(scene).shape[1]
    net_3d = Segmenter3D(config.networks.net_3d.with_inputs(channels, text.shape[1]), text, vocabulary)
    starts = (config.networks.backbone_weights, config.networks.backbone_weights_3d)
    networks: tuple[Segmenter, ...] = (net_2d, net_3d)
    for network, weights, part in zip(networks, starts, ("backbone", "backbone-3d")):
        if (start := starting_weights(weights, part)) is not None:
            network.load_backbone(start)
    return CoTrained(net_2d, net_3d)
