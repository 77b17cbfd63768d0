"""Combine the 2D and the 3D network in one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from labelfree.config.training import MODALITIES, Modality
from labelfree.nets.norm import is_synchronised
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.nets.sparse.voxels import Voxels
from labelfree.runtime.side_by_side import side_by_side

Inputs = Mapping[Modality, "Tensor | HeldVoxels"]
"""Inputs of the networks that are run: images [B, 3, H, W] in 2D, voxels in 3D."""


class HeldVoxels:
    """A container for voxels that Fabric's wrapper accepts; it rejects frozen dataclasses and casts plain tensors."""

    def __init__(self, voxels: Voxels) -> None:
        self.voxels = voxels


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """The output of one network."""

    logits: Tensor  # [B, K, H, W] of images, [V, K] of voxels
    latent: Tensor  # [B, D, h, w] theta_f(x) at the features' stride, [V, D] varphi_f(p)


class CoTrained(nn.Module):
    """The 2D and the 3D network in one module, for one optimiser and one process group."""

    def __init__(self, net_2d: Segmenter2D, net_3d: Segmenter3D) -> None:
        super().__init__()
        self.net_2d = net_2d
        self.net_3d = net_3d

    def network(self, modality: Modality) -> Segmenter2D | Segmenter3D:
        """Return the network of a modality."""
        return self.net_2d if modality == "2d" else self.net_3d

    def freeze_all_but(self, modalities: Sequence[Modality]) -> None:
        """Exclude networks that are not trained from gradients and from gradient exchange between processes."""
        for modality in MODALITIES:
            if modality not in modalities:
                self.network(modality).requires_grad_(False)

    def forward(self, inputs: Inputs) -> dict[Modality, tuple[Tensor, Tensor]]:
        """Return logits and latent features of each network with an input; on a CPU both networks run in parallel.

        With synchronised batch norm they run one after the other: the order of exchanges must not depend on threads.
        """
        on_cpu = all(value.device.type == "cpu" for value in inputs.values() if isinstance(value, Tensor))
        if len(inputs) == len(MODALITIES) and on_cpu and not is_synchronised(self):
            first, second = side_by_side(lambda: self._run("2d", inputs), lambda: self._run("3d", inputs))
            return {"2d": first, "3d": second}
        return {modality: self._run(modality, inputs) for modality in inputs}

    def _run(self, modality: Modality, inputs: Inputs) -> tuple[Tensor, Tensor]:
        value = inputs[modality]
        output = self.net_3d(value.voxels) if isinstance(value, HeldVoxels) else self.net_2d(value)
        return output.logits, output.latent
