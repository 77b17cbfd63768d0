"""The 3D part of the page: the cloud, the cameras and the viewpoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.poses import rotation_quaternion
from labelfree.raster import resize_image
from labelfree.results.cloud_view import CAMERA_DISTANCE, STRAY_SHARE, CloudLayer, CloudView, ceiling_height
from labelfree.results.point_render import ViewPoint
from labelfree.viewer.colouring import thinned
from labelfree.viewer.picking import ScreenCamera
from labelfree.viewer.session import SceneSession

if TYPE_CHECKING:
    import viser

MOST_POINTS = 1_000_000
"""Largest number of points that are sent to a browser: 15 MB."""
MOST_CAMERAS = 60
"""Largest number of cameras that are drawn, evenly spaced."""
THUMBNAIL_WIDTH = 160
FIELD_OF_VIEW = math.radians(60)


class Canvas:
    """What one scene draws; coordinates of the page are relative to the middle of the cloud."""

    def __init__(self, server: viser.ViserServer, session: SceneSession) -> None:
        self.server, self.session = server, session
        points = session.scene.points_world
        low, high = np.quantile(points, (STRAY_SHARE, 1 - STRAY_SHARE), axis=0)
        self.middle = ((low + high) / 2).astype(np.float32)
        self.extent_m = max(float(np.linalg.norm(high - low)), 0.1)
        self.sent = thinned(len(points), MOST_POINTS)
        self._mask: NDArray[np.bool_] | None = None
        self._cloud: Any = None
        self.frusta: dict[int, Any] = {}

    @property
    def subsampled(self) -> bool:
        """Return whether only a random part of the points is drawn."""
        return self.sent is not None

    def open(self) -> None:
        """Set the direction of up and the first viewpoint, which looks obliquely from above."""
        up = self.session.scene.up_world()
        self.server.scene.set_up_direction((float(up[0]), float(up[1]), float(up[2])))
        self.server.scene.configure_environment_map(None)
        eye = -CAMERA_DISTANCE * self.extent_m * ViewPoint((float(up[0]), float(up[1]), float(up[2]))).axes()[2]
        camera = self.server.initial_camera
        camera.up, camera.look_at, camera.position = tuple(up.tolist()), (0.0, 0.0, 0.0), tuple(eye.tolist())
        camera.fov = FIELD_OF_VIEW
        for client in self.server.get_clients().values():
            client.camera.up_direction = up
            client.camera.position, client.camera.look_at = eye, np.zeros(3)

    def cut(self) -> float:
        """Return the share of the height below the ceiling; 1 without a ceiling."""
        scene = self.session.scene
        up = scene.up_world()
        layer = CloudLayer("input", self.session.layers.input_colours())
        view = CloudView(scene.name, scene.points_world, (layer,), (float(up[0]), float(up[1]), float(up[2])))
        start, heights = ceiling_height(view), view.heights()
        if start is None:
            return 1.0
        return float((start - heights.min()) / max(float(np.ptp(heights)), 1e-9))

    def draw(self) -> None:
        """Send the cloud in its present state; the coordinates only if other points are shown."""
        shown, colours = self.session.shown(), self.session.colours()
        if self.sent is not None:
            keep = np.zeros(len(shown), np.bool_)
            keep[self.sent] = True
            shown = shown & keep
        if self._cloud is not None and self._mask is not None and np.array_equal(shown, self._mask):
            self._cloud.colors = colours[shown]
            return
        self._mask = shown
        points = self.session.scene.points_world[shown] - self.middle
        size = float(np.clip(self.extent_m / math.sqrt(max(len(shown), 1)) * 0.7, 0.004, 0.2))
        self._cloud = self.server.scene.add_point_cloud(
            "/cloud",
            points if len(points) else np.zeros((1, 3), np.float32),
            colours[shown] if len(points) else np.full((1, 3), 255, np.uint8),
            point_size=size,
            point_shape="rounded",
            precision="float32",
            point_shading="flat",
        )

    def draw_cameras(self, visible: bool, pictures: dict[int, NDArray[np.uint8]]) -> None:
        """Draw a frustum per camera with its picture, or none."""
        for handle in self.frusta.values():
            handle.remove()
        self.frusta = {}
        for index, picture in pictures.items() if visible else ():
            frame = self.session.scene.frames[index]
            height, width = frame.size
            pose = frame.camera_to_world
            self.frusta[index] = self.server.scene.add_camera_frustum(
                f"/camera-{index}",
                fov=2 * math.atan2(height / 2, float(frame.intrinsics[1, 1])),
                aspect=width / height,
                scale=0.035 * self.extent_m,
                image=_thumbnail(picture),
                wxyz=rotation_quaternion(pose[:3, :3]),
                position=pose[:3, 3] - self.middle,
                color=(60, 60, 60),
                cast_shadow=False,
                receive_shadow=False,
            )

    def camera_frames(self) -> list[int]:
        """Return the frames whose cameras are drawn, evenly spaced if there are many."""
        count = len(self.session.scene.frames)
        return sorted({round(place) for place in np.linspace(0, count - 1, min(count, MOST_CAMERAS)).tolist()})

    def look_at(self, chosen: NDArray[np.bool_]) -> None:  # [N]
        """Turn every browser's camera to the chosen points and move it near them."""
        points = self.session.scene.points_world[chosen] - self.middle
        if not len(points):
            return
        centre = points.mean(axis=0).astype(np.float64)
        reach = max(float(np.linalg.norm(points - centre, axis=1).max()), 0.15 * self.extent_m)
        for client in self.server.get_clients().values():
            away = client.camera.position - centre
            away = away / max(float(np.linalg.norm(away)), 1e-6)
            client.camera.position, client.camera.look_at = centre + 2.2 * reach * away, centre

    def look_through(self, index: int) -> None:
        """Move every browser's camera to the camera of a frame."""
        pose = self.session.scene.frames[index].camera_to_world
        position = pose[:3, 3] - self.middle
        for client in self.server.get_clients().values():
            client.camera.position = position
            client.camera.look_at = position + 0.4 * self.extent_m * pose[:3, 2]

    def world(self, point: Any) -> NDArray[np.float64]:  # [3]
        """Return a place of the page in the coordinates of the scene."""
        return np.asarray(point, np.float64) + self.middle

    def screen_camera(self, camera: Any) -> ScreenCamera:
        """Return the camera of a browser in the coordinates of the scene."""
        return ScreenCamera(
            self.world(camera.position), np.asarray(camera.wxyz), float(camera.fov), float(camera.aspect)
        )


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if width <= THUMBNAIL_WIDTH:
        return picture
    return resize_image(picture, (max(1, round(height * THUMBNAIL_WIDTH / width)), THUMBNAIL_WIDTH))
