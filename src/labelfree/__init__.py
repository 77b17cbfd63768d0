"""Label-free 2D and 3D semantic segmentation from CLIP, SAM and posed images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from labelfree.errors import InputError

if TYPE_CHECKING:
    from labelfree.config.reading import recipe
    from labelfree.config.run_config import RunConfig
    from labelfree.data.collection import open_scenes
    from labelfree.labelling.inference import predict_images, predict_points
    from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
    from labelfree.prediction import Prediction
    from labelfree.results.export import save_prediction
    from labelfree.results.publishing import push_to_hub
    from labelfree.scene import Frame, Scene
    from labelfree.teachers.opening import load_teachers
    from labelfree.training.systems import cotrain
    from labelfree.vocabulary import Vocabulary

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
    "push_to_hub",
    "recipe",
    "save_prediction",
]

# Imported on first use, so that `import labelfree` is fast and the command line handles Ctrl-C early.
_LAZY = {
    "Frame": "labelfree.scene",
    "Prediction": "labelfree.prediction",
    "RunConfig": "labelfree.config.run_config",
    "Scene": "labelfree.scene",
    "Segmenter2D": "labelfree.nets.segmenters",
    "Segmenter3D": "labelfree.nets.segmenters",
    "cotrain": "labelfree.training.systems",
    "Vocabulary": "labelfree.vocabulary",
    "load_teachers": "labelfree.teachers.opening",
    "open_scenes": "labelfree.data.collection",
    "predict_images": "labelfree.labelling.inference",
    "predict_points": "labelfree.labelling.inference",
    "push_to_hub": "labelfree.results.publishing",
    "recipe": "labelfree.config.reading",
    "save_prediction": "labelfree.results.export",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'labelfree' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)
