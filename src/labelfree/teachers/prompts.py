"""Provide the sentence templates into which class names are inserted for CLIP."""

from __future__ import annotations

_ARTICLES = ("a", "the")
_PHOTO_QUALITIES = (
    "bad",
    "good",
    "low resolution",
    "cropped",
    "bright",
    "dark",
    "close-up",
    "black and white",
    "pixelated",
    "jpeg corrupted",
    "blurry",
)
_OBJECT_QUALITIES = ("hard to see", "clean", "dirty", "cool", "large", "nice", "weird", "small")
_ART_FORMS = ("sculpture", "rendering", "tattoo", "drawing", "painting", "doodle", "sketch", "rendition")
_BARE_FORMS = ("graffiti", "art", "itap")
_MATERIALS = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")


def _imagenet_templates() -> tuple[str, ...]:
    """Return CLIP's 80 ImageNet templates (openai/CLIP, Prompt_Engineering_for_ImageNet); most are a/the pairs."""
    paired = [
        pattern.format(article=article)
        for pattern in (
            *(f"a {quality} photo of {{article}} {{{{}}}}." for quality in _PHOTO_QUALITIES),
            *(f"a photo of {{article}} {quality} {{{{}}}}." for quality in _OBJECT_QUALITIES),
            *(f"a {form} of {{article}} {{{{}}}}." for form in _ART_FORMS),
            *(f"{form} of {{article}} {{{{}}}}." for form in _BARE_FORMS),
            *(f"{{article}} {material} {{{{}}}}." for material in _MATERIALS),
            "{article} {{}} in a video game.",
            "a photo of {article} {{}}.",
        )
        for article in _ARTICLES
    ]
    return (*paired, "a photo of my {}.", "a photo of one {}.", "a photo of many {}.", "itap of my {}.")


IMAGENET_TEMPLATES = _imagenet_templates()
"""CLIP's 80 ImageNet templates; their order does not matter because embeddings are averaged."""

SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
"""The five templates that MaskCLIP and CLIP2Scene add."""

TEMPLATES = IMAGENET_TEMPLATES + SCENE_TEMPLATES
"""The 85 templates of the paper's setting."""


def fill_templates(name: str, templates: tuple[str, ...] = TEMPLATES) -> list[str]:
    """Return every template with the class name inserted verbatim."""
    return [template.replace("{}", name) for template in templates]
