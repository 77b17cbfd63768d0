from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest

from helpers.results_room import VOCABULARY, room_view
from labelfree.errors import InputError
from labelfree.results.cloud_view import CloudLayer, CloudView, ceiling_height, cloud_payload


def test_thinning_is_even_deterministic_and_keeps_order() -> None:
    view = room_view(12)
    view = replace(view, points_world=np.arange(3 * len(view.points_world), dtype=np.float32).reshape(-1, 3))
    thin = view.thinned(200, seed=1)
    again = view.thinned(200, seed=1)
    assert len(thin.points_world) == 200
    np.testing.assert_array_equal(thin.points_world, again.points_world)
    places = (thin.points_world[:, 0] / 3).astype(int)
    assert (np.diff(places) > 0).all()
    labels = view.layers[4].labels
    assert labels is not None
    np.testing.assert_array_equal(thin.layers[4].labels, labels[places])
    assert view.thinned(10**6) is view


def test_a_ceiling_is_found_only_where_there_is_one() -> None:
    assert ceiling_height(room_view()) is None
    found = ceiling_height(room_view(ceiling=True))
    assert found is not None
    assert 2.0 < found < 2.4


def test_payload_gives_the_points_back() -> None:
    view = room_view()
    data = cloud_payload(view, VOCABULARY)
    steps = np.frombuffer(base64.b64decode(data["points"]), "<u2").reshape(-1, 3)
    np.testing.assert_allclose(steps * data["step"] + data["low"], view.points_world, atol=1e-4)
    assert data["shown"] == data["total"] == len(view.points_world)
    assert [layer["title"] for layer in data["layers"]] == [layer.title for layer in view.layers]
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(data["layers"][4]["labels"]), np.uint8), view.layers[4].labels
    )
    assert data["cut"] == 100
    assert 80 < cloud_payload(room_view(ceiling=True), VOCABULARY)["cut"] < 100


def test_a_few_stray_points_do_not_move_the_camera() -> None:
    view = room_view(16)
    layers = tuple(CloudLayer(layer.title, np.concatenate([layer.colours, layer.colours[:2]])) for layer in view.layers)
    points = np.concatenate([view.points_world, [[90, 0, 0], [0, -70, 9]]]).astype(np.float32)
    strayed = CloudView("strayed", points, layers)
    for seen in (view, strayed):
        data = cloud_payload(seen, VOCABULARY)
        low, extent = np.array(data["low"]), 65535 * np.array(data["step"])
        scale = extent / np.array(data["camera"]["aspect"])
        centre = low + extent / 2 + np.array(data["camera"]["centre"]) * scale
        np.testing.assert_allclose(scale, scale[0])
        np.testing.assert_allclose(centre, [2.0, 1.5, 1.2], atol=0.1)


def test_refuses_layers_that_do_not_fit() -> None:
    points = np.zeros((3, 3), np.float32)
    with pytest.raises(InputError, match="layer 'x' does not fit 3 points"):
        CloudView("v", points, (CloudLayer("x", np.zeros((2, 3), np.uint8)),))
    with pytest.raises(InputError, match="at least one layer"):
        CloudView("v", points, ())
