"""Lived-in rooms: loose objects, other proportions and colours; clean rooms stay what they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelfree_lab.rooms import furniture
from labelfree_lab.rooms.room import Room, build_room, parts_of
from labelfree_lab.rooms.style import CLEAN, LIVED_IN, TALLEST_M, RoomStyle, Workshop, stretched
from labelfree_lab.shapes.primitives import IGNORE, SHELL

SEEDS = range(2_000_000, 2_000_008)


def workshop(style: RoomStyle, seed: int = 0) -> Workshop:
    return Workshop(style, np.random.default_rng(seed))


def loose(room: Room) -> int:
    return int((room.instance_class[3:] == IGNORE).sum())


def test_only_lived_in_rooms_have_loose_objects() -> None:
    assert [loose(build_room(seed, CLEAN)) for seed in SEEDS] == [0] * len(SEEDS)
    assert np.mean([loose(build_room(seed, LIVED_IN)) for seed in SEEDS]) > 8


def test_a_style_without_variation_draws_nothing() -> None:
    shop, chair = workshop(CLEAN), furniture.chair(np.random.default_rng(3))
    before = shop.rng.bit_generator.state
    assert shop.varied(chair) is chair
    assert shop.turn() == shop.tuck() == 0.0
    assert shop.rng.bit_generator.state == before


def test_rooms_of_both_styles_share_kind_and_size() -> None:
    for seed in SEEDS:
        clean, lived = build_room(seed), build_room(seed, LIVED_IN)
        assert (clean.kind, clean.size) == (lived.kind, lived.size)


def test_the_same_seed_gives_the_same_lived_in_room() -> None:
    first, second = build_room(5, LIVED_IN), build_room(5, LIVED_IN)
    assert np.array_equal(first.primitives.centre, second.primitives.centre)
    assert np.array_equal(first.primitives.colours, second.primitives.colours)


def test_everything_is_inside_the_room() -> None:
    for seed in SEEDS:
        room = build_room(seed, LIVED_IN)
        assert room.instance_low[:, :2].min() >= -1e-6
        assert (room.instance_high[:, :2] <= np.array(room.size[:2]) + 1e-6).all()


def test_stretching_multiplies_the_bounds() -> None:
    chair = furniture.chair(np.random.default_rng(3))
    low, high = stretched(chair, (2.0, 0.5, 1.5)).bounds()
    assert np.allclose(high, np.array(chair.bounds()[1]) * [2.0, 0.5, 1.5])
    assert np.allclose(low, np.array(chair.bounds()[0]) * [2.0, 0.5, 1.5])


def test_no_piece_is_stretched_to_the_ceiling() -> None:
    shop, rng = workshop(replace(LIVED_IN, stretch=1.0)), np.random.default_rng(0)
    for _ in range(50):
        shelf = furniture.bookshelf(rng)
        assert shop.varied(shelf).bounds()[1][2] <= max(TALLEST_M, shelf.bounds()[1][2]) + 1e-9


def test_pieces_take_over_colours_of_the_room() -> None:
    """With `alike` 1, every piece gets the colour of the first one."""
    shop, rng = workshop(replace(LIVED_IN, alike=1.0, patches=0.0)), np.random.default_rng(1)
    for _ in range(5):
        shop.varied(furniture.table(rng))
    assert len(set(shop.colours)) == 1


def test_chairs_may_stand_under_tables_in_lived_in_rooms() -> None:
    def overlaps(style: RoomStyle) -> int:
        count = 0
        for seed in range(2_000_000, 2_000_030):
            room = build_room(seed, style)
            tables, chairs = (np.flatnonzero(room.instance_class == label) for label in (6, 4))
            for table in tables:
                for chair in chairs:
                    low = np.maximum(room.instance_low[table], room.instance_low[chair])
                    high = np.minimum(room.instance_high[table], room.instance_high[chair])
                    count += bool((high - low > 0.05).all())
        return count

    assert overlaps(CLEAN) == 0
    assert overlaps(LIVED_IN) > 3


@pytest.mark.parametrize("style", [CLEAN, LIVED_IN])
def test_parts_never_cross_instances(style: RoomStyle) -> None:
    table = build_room(7, style).primitives
    parts = parts_of(table)
    owners = {(int(part), int(instance)) for part, instance in zip(parts, table.instance)}
    assert len(owners) == parts.max()
    assert parts.min() == 1
    assert len(np.unique(parts[2:SHELL])) == SHELL - 2  # each wall is a part
    assert parts.max() > 1.5 * len(np.unique(table.instance))  # and pieces have several
