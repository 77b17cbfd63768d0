from __future__ import annotations

import pytest

from labelfree.teachers.prompts import IMAGENET_TEMPLATES, SCENE_TEMPLATES, TEMPLATES, fill_templates

# The seven that the authors of CLIP single out, and one of every other pattern.
KNOWN = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
    "a photo of many {}.",
    "a photo of one {}.",
    "itap of my {}.",
    "a photo of my {}.",
    "a photo of a hard to see {}.",
    "a black and white photo of the {}.",
    "a jpeg corrupted photo of a {}.",
    "graffiti of the {}.",
    "a rendition of a {}.",
    "the plushie {}.",
    "the {} in a video game.",
)


def test_there_are_85_different_templates() -> None:
    assert (len(IMAGENET_TEMPLATES), len(SCENE_TEMPLATES)) == (80, 5)
    assert len(set(TEMPLATES)) == 85
    assert all(template.count("{}") == 1 and template.endswith(".") for template in TEMPLATES)


@pytest.mark.parametrize("template", KNOWN)
def test_known_templates_are_there(template: str) -> None:
    assert template in IMAGENET_TEMPLATES


def test_names_go_in_verbatim() -> None:
    sentences = fill_templates("traffic_cone {0}", ("a {} here.", "the {}."))
    assert sentences == ["a traffic_cone {0} here.", "the traffic_cone {0}."]
