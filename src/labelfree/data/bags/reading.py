"""Read messages of ROS 1 bags, ROS 2 bags and MCAP files one by one with the library `rosbags` (extra `bags`)."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelfree.errors import InputError
from labelfree.files.documents import one_line

NEEDED = "reading bags needs package rosbags, which is not installed: pip install 'labelfree[bags]'"
ENDINGS = (".bag", ".mcap", ".db3")
"""Endings of files; a ROS 2 bag is also a folder with `metadata.yaml`."""
REPAIR = "copy it again, or repair it with 'rosbag reindex', 'ros2 bag reindex' or 'mcap recover'"
MOST_LISTED = 12
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    name: str
    type: str
    """Such as sensor_msgs/msg/Image, also in ROS 1 bags."""
    count: int
    """Number of messages."""


@dataclass(frozen=True, eq=False)
class Message:
    """A decoded message."""

    topic: Topic
    recorded: int
    """Time of recording in nanoseconds."""
    content: Any

    @property
    def time(self) -> int:
        """Return the header's stamp in nanoseconds; the time of recording where the stamp is zero."""
        stamp = self.content.header.stamp
        return (int(stamp.sec) * SECOND + int(stamp.nanosec)) or self.recorded

    @property
    def frame(self) -> str:
        """Return the header's frame without a leading slash."""
        return str(self.content.header.frame_id).lstrip("/")


class Bag:
    """The topics and messages of one recording."""

    def __init__(self, reader: Any, paths: Sequence[Path]) -> None:
        self._reader = reader
        self.where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        found: dict[str, Topic] = {}
        for connection in reader.connections:
            name, before = str(connection.topic), found.get(str(connection.topic))
            count = int(connection.msgcount or 0) + (0 if before is None else before.count)
            found[name] = Topic(name, str(connection.msgtype), count)
        self.topics = {name: found[name] for name in sorted(found)}

    def of_type(self, *types: str) -> list[Topic]:
        """Return the topics of some types that have messages."""
        return [topic for topic in self.topics.values() if topic.type in types and topic.count]

    def listing(self) -> str:
        """Return the topics and their types on one line, for errors."""
        listed = [f"{topic.name} ({topic.type}, {topic.count})" for topic in self.topics.values()]
        more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
        return f"its topics are {', '.join(listed[:MOST_LISTED])}{more}" if listed else "it has no topics"

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of some topics in order of recording.

        Raises an `InputError` where the recording is damaged.
        """
        chosen = [connection for connection in self._reader.connections if connection.topic in names]
        count = 0
        try:
            for connection, recorded, raw in self._reader.messages(connections=chosen) if chosen else ():
                content = self._reader.deserialize(raw, connection.msgtype)
                yield Message(self.topics[str(connection.topic)], int(recorded), content)
                count += 1
        except InputError:
            raise
        except Exception as error:  # readers of damaged files raise errors of many kinds
            raise InputError(
                f"{self.where}: is damaged or truncated after {count} messages ({one_line(error)}); {REPAIR}."
            ) from error

    def first(self, names: Collection[str]) -> dict[str, Message]:
        """Return the first message of each of some topics that has one."""
        wanted = {name for name in names if self.topics[name].count}
        found: dict[str, Message] = {}
        for message in self.messages(wanted) if wanted else ():
            found.setdefault(message.topic.name, message)
            if len(found) == len(wanted):
                break
        return found


@contextmanager
def open_bag(paths: Sequence[Path]) -> Iterator[Bag]:
    """Open the files of one recording: ROS 1 bags, or ROS 2 bags and MCAP files.

    Raises an `InputError` if rosbags is not installed, or a file is missing, of another kind or damaged.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path of the bag.")
        if not path.is_dir() and path.suffix not in ENDINGS:
            raise InputError(f"{path}: is no bag; give a .bag or .mcap file, or the folder of a ROS 2 bag.")
    if len({path.suffix == ".bag" for path in paths}) > 1:
        raise InputError(f"{paths[0]}: ROS 1 and ROS 2 bags are given together; import them one after the other.")
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise InputError(NEEDED) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = AnyReader(list(paths), default_typestore=get_typestore(Stores.LATEST))
            reader.open()
    except Exception as error:  # readers of damaged files raise errors of many kinds
        raise InputError(f"{paths[0]}: cannot be read as a bag ({one_line(error)}); {REPAIR}.") from error
    try:
        yield Bag(reader, paths)
    finally:
        reader.close()
