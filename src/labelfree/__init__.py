"""Label-free 2D and 3D semantic segmentation from CLIP, SAM and posed images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from labelfree.errors import InputError
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import Vocabulary

if TYPE_CHECKING:
    from labelfree.config import RunConfig
    from labelfree.data.collection import open_scenes
    from labelfree.inference import predict_images, predict_points
    from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
    from labelfree.pipeline import load_teachers
    from labelfree.results.export import save_prediction
    from labelfree.settings import recipe
    from labelfree.systems import cotrain

__version__ = "0.1.0"

__all__ = [
    "Frame",
    "InputError",
    "Prediction",
    "RunConfig",
    "Scene",
    "Segmenter2D",
    "Segmenter3D",
    "Vocabulary",
    "__version__",
    "cotrain",
    "load_teachers",
    "open_scenes",
    "predict_images",
    "predict_points",
    "recipe",
    "save_prediction",
]

# What needs torch is imported when it is first used, so that `import labelfree` stays quick.
_LAZY = {
    "RunConfig": "labelfree.config",
    "Segmenter2D": "labelfree.nets.segmenters",
    "Segmenter3D": "labelfree.nets.segmenters",
    "cotrain": "labelfree.systems",
    "load_teachers": "labelfree.pipeline",
    "open_scenes": "labelfree.data.collection",
    "predict_images": "labelfree.inference",
    "predict_points": "labelfree.inference",
    "recipe": "labelfree.settings",
    "save_prediction": "labelfree.results.export",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'labelfree' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)
