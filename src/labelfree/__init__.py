"""Label-free 2D and 3D semantic segmentation from CLIP, SAM and posed images."""

from labelfree.errors import InputError
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = ["Frame", "InputError", "Prediction", "Scene", "Vocabulary", "__version__"]
