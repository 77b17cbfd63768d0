"""Choose the topics of a bag by their message types where the user does not name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labelfree.data.bags.pixels import COMPRESSED, Kind, kind_of
from labelfree.data.bags.reading import Bag, Message, Topic
from labelfree.errors import InputError, shown

IMAGE, INFO, CLOUD = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
ODOMETRY, POSE, POSE_COV = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)
POSES = (ODOMETRY, POSE, POSE_COV)
TF = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
TRANSPORTS = ("/compressedDepth", "/compressed")
REGISTERED = ("aligned", "registered")
"""Words in the names of depth topics that show the view of the colour camera."""
NONE = "none"
"""Value of --depth-topic for a bag whose depth is not used."""


@dataclass(frozen=True)
class NamedTopics:
    """The topics that the user names; None, or no image topic, is found by type."""

    images: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    depth: str | None = None
    poses: str | None = None
    cloud: str | None = None
    world: str | None = None
    """Frame of the world in tf."""
    camera: str | None = None
    """Frame of the camera; None takes that of the images."""


@dataclass(frozen=True)
class Camera:
    """The image topic of a camera and its calibration."""

    image: Topic
    info: Topic
    frame: str


@dataclass(frozen=True)
class ChosenTopics:
    """The topics that are imported: images with depth, or LiDAR sweeps with one or more cameras."""

    cameras: tuple[Camera, ...]
    depth: Topic | None
    cloud: Topic | None
    poses: Topic | None
    """Topic of poses; None if tf gives them."""
    world: str | None

    def describe(self) -> list[str]:
        """Return which topic is used for what, one line each."""
        lines = [f"images {c.image.name}, intrinsics {c.info.name}, frame {shown(c.frame)}" for c in self.cameras]
        lines += [] if self.depth is None else [f"depth {self.depth.name}"]
        lines += [] if self.cloud is None else [f"sweeps {self.cloud.name}"]
        return [*lines, "poses from tf" if self.poses is None else f"poses {self.poses.name}"]


def choose_topics(bag: Bag, named: NamedTopics) -> ChosenTopics:
    """Return the topics to import. Raises an `InputError` that lists the topics if one is missing or not unique."""
    firsts = bag.first([topic.name for topic in bag.of_type(IMAGE, COMPRESSED, INFO)])
    kinds = {
        name: kind_of(message.content, message.topic.type)
        for name, message in firsts.items()
        if message.topic.type != INFO
    }
    images = [_named(bag, name, (IMAGE, COMPRESSED), "image") for name in named.images] or [_colour(bag, kinds)]
    image_frame = firsts[images[0].name].frame
    depth = None
    if named.cloud is None and named.depth != NONE:
        depth = _depth(bag, named.depth, images[0], kinds, firsts)
    cloud = None if depth is not None else _cloud(bag, named.cloud)
    if cloud is None and len(images) > 1:
        raise InputError(f"--image-topic: {len(images)} cameras are given, but a capture with depth has one; name one.")
    if named.infos and len(named.infos) != len(images):
        raise InputError(f"--info-topic: give one for each of the {len(images)} image topics, in their order.")
    infos = [_named(bag, name, (INFO,), "info") for name in named.infos]
    infos = infos or [_info(bag, image, depth, firsts) for image in images]
    frames = [named.camera or firsts[image.name].frame or image_frame for image in images]
    cameras = tuple(Camera(*parts) for parts in zip(images, infos, frames))
    poses = None if named.world is not None and named.poses is None else _poses(bag, named.poses)
    return ChosenTopics(cameras, depth, cloud, poses, named.world)


def _named(bag: Bag, name: str, types: Sequence[str], option: str) -> Topic:
    topic = bag.topics.get(name)
    if topic is None or topic.type not in types or not topic.count:
        lacks = "has no such topic" if topic is None else f"is {topic.type} with {topic.count} messages"
        raise InputError(
            f"--{option}-topic {name}: {bag.where} {lacks}, expected messages of {' or '.join(types)}; {bag.listing()}."
        )
    return topic


def _ambiguous(bag: Bag, option: str, what: str, found: Sequence[Topic]) -> InputError:
    names = ", ".join(topic.name for topic in found)
    return InputError(f"{bag.where}: {what} could be any of {names}; name one with --{option}-topic.")


def _missing(bag: Bag, what: str) -> InputError:
    return InputError(f"{bag.where}: has no {what}; {bag.listing()}.")


def _base(topic: Topic) -> str:
    """Return the name of an image topic without its transport."""
    return next((topic.name.removesuffix(end) for end in TRANSPORTS if topic.name.endswith(end)), topic.name)


def _raw_ones(found: Sequence[Topic]) -> list[Topic]:
    """Return one topic for each camera: raw images where both raw and compressed ones are recorded."""
    best: dict[str, Topic] = {}
    for topic in sorted(found, key=lambda topic: topic.type == COMPRESSED):
        best.setdefault(_base(topic), topic)
    return list(best.values())


def _colour(bag: Bag, kinds: dict[str, Kind]) -> Topic:
    for kind in (Kind.COLOUR, Kind.GREY, Kind.OTHER):
        found = _raw_ones([bag.topics[name] for name in kinds if kinds[name] is kind])
        if len(found) > 1:
            raise _ambiguous(bag, "image", "the images", found)
        if found:
            return found[0]
    raise _missing(bag, "images (sensor_msgs/Image or CompressedImage)")


def _depth(
    bag: Bag, named: str | None, image: Topic, kinds: dict[str, Kind], firsts: dict[str, Message]
) -> Topic | None:
    if named is not None:
        return _named(bag, named, (IMAGE, COMPRESSED), "depth")
    found = _raw_ones([bag.topics[name] for name in kinds if kinds[name] is Kind.DEPTH])
    frame = firsts[image.name].frame
    same = [topic for topic in found if firsts[topic.name].frame == frame]
    if found and not same:
        raise InputError(
            f"{bag.where}: depth {found[0].name} is in frame {shown(firsts[found[0].name].frame)}, the images "
            f"{image.name} in {shown(frame)}; record depth that is aligned to colour, or name the topic with "
            "--depth-topic if it shows the same view."
        )
    if len(same) > 1:
        same = [topic for topic in same if any(word in topic.name for word in REGISTERED)] or same
    if len(same) > 1:
        raise _ambiguous(bag, "depth", "the depth", same)
    return same[0] if same else None


def _cloud(bag: Bag, named: str | None) -> Topic:
    if named is not None:
        return _named(bag, named, (CLOUD,), "cloud")
    found = bag.of_type(CLOUD)
    if len(found) > 1:
        raise _ambiguous(bag, "cloud", "the LiDAR sweeps", found)
    if not found:
        raise _missing(bag, "depth (sensor_msgs/Image, 16UC1 or 32FC1) and no sensor_msgs/PointCloud2")
    return found[0]


def _info(bag: Bag, image: Topic, depth: Topic | None, firsts: dict[str, Message]) -> Topic:
    found = bag.of_type(INFO)
    if not found:
        raise _missing(bag, "sensor_msgs/CameraInfo")
    for base in (_base(topic) for topic in (image, depth) if topic is not None):
        beside = bag.topics.get(f"{base.rpartition('/')[0]}/camera_info")
        if beside in found:
            return beside
    if len(found) > 1:
        frame = firsts[image.name].frame
        same = [topic for topic in found if firsts[topic.name].frame == frame]
        if len(same) != 1:
            raise _ambiguous(bag, "info", f"the intrinsics of {image.name}", found)
        return same[0]
    return found[0]


def _poses(bag: Bag, named: str | None) -> Topic | None:
    if named is not None:
        return _named(bag, named, POSES, "pose")
    found = bag.of_type(*POSES)
    if len(found) > 1:
        raise _ambiguous(bag, "pose", "the poses", found)
    if not found and not bag.of_type(*TF):
        raise _missing(bag, "poses (nav_msgs/Odometry, geometry_msgs/PoseStamped or tf)")
    return found[0] if found else None
