"""Weak and strong views: Pillow as oracle of RandAugment's operations, geometry, that samples are drawn one by one, and what a view never does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from plugins.tasks.semi_supervised import rand_augment as ra
from plugins.tasks.semi_supervised.views import Deformation, DigitViews, FeatureViews, PictureViews, crop_reflected, deform, drop_features

LEVELS = [level / 10 for level in range(1, 10)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(channels=3, height=32, width=32, seed=0):
    """Coarse blocks with noise on them, uint8."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.random((height // 4, width // 4, channels)), np.ones((4, 4, 1)))

    return (blocks * 200 + rng.random((height, width, channels)) * 50 + 3).astype(np.uint8)


def as_tensor(values):
    return torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255


def off(found, image):
    """Return the largest distance to Pillow's picture, in its 256 steps."""
    return np.abs((found[0].permute(1, 2, 0).numpy() * 255).round() - np.asarray(image).astype(float)).max()


def moved(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def cut(level, steps):
    """Return the whole number that the original code makes of a level."""
    return int(steps * level + 1e-9)


PILLOW = {
    "auto_contrast": lambda image, level: ImageOps.autocontrast(image),
    "brightness": lambda image, level: ImageEnhance.Brightness(image).enhance(0.05 + 0.9 * abs(level)),
    "colour": lambda image, level: ImageEnhance.Color(image).enhance(0.05 + 0.9 * abs(level)),
    "contrast": lambda image, level: ImageEnhance.Contrast(image).enhance(0.05 + 0.9 * abs(level)),
    "equalize": lambda image, level: ImageOps.equalize(image),
    "identity": lambda image, level: image,
    "posterize": lambda image, level: ImageOps.posterize(image, 4 + cut(abs(level), 4)),
    "rotate": lambda image, level: image.rotate(30 * level),
    "sharpness": lambda image, level: ImageEnhance.Sharpness(image).enhance(0.05 + 0.9 * abs(level)),
    "shear_x": lambda image, level: moved(image, 1, 0.3 * level, 0, 0, 1, 0),
    "shear_y": lambda image, level: moved(image, 1, 0, 0, 0.3 * level, 1, 0),
    "solarize": lambda image, level: ImageOps.solarize(image, 256 - cut(abs(level), 256)),
    "translate_x": lambda image, level: moved(image, 1, 0, int(0.3 * level * image.size[0]), 0, 1, 0),
    "translate_y": lambda image, level: moved(image, 1, 0, 0, 0, 1, int(0.3 * level * image.size[1])),
}


def test_the_pool_has_the_fourteen_operations():
    assert set(ra.OPERATIONS) == set(PILLOW)
    assert len(ra.OPERATIONS) == 14


@pytest.mark.parametrize("name", list(PILLOW))
@pytest.mark.parametrize("size", [(32, 32), (28, 40)])
def test_an_operation_is_that_of_pillow(name, size):
    values = picture(height=size[0], width=size[1])
    for level in (*LEVELS, *(-level for level in LEVELS)):
        found = ra.OPERATIONS[name](as_tensor(values), torch.tensor([level], dtype=torch.float64))

        assert off(found, PILLOW[name](Image.fromarray(values), level)) <= 1, level  # 1: Pillow rounds within an operation


def test_each_picture_of_a_batch_gets_its_own_level():
    values = as_tensor(picture())
    for name, operation in ra.OPERATIONS.items():
        together = operation(values.repeat(3, 1, 1, 1), torch.tensor([0.2, -0.5, 0.9], dtype=torch.float64))
        alone = torch.cat([operation(values, torch.tensor([level], dtype=torch.float64)) for level in (0.2, -0.5, 0.9)])

        torch.testing.assert_close(together, alone, msg=name)


def test_a_flat_channel_survives_auto_contrast():
    flat = torch.full((1, 1, 4, 4), 0.3)

    torch.testing.assert_close(ra.auto_contrast(flat), flat)


def test_pictures_draw_operations_of_their_own():
    same = as_tensor(picture()).repeat(400, 1, 1, 1)

    changed = ra.rand_augment(same, generator())

    kinds = {row.numpy().tobytes() for row in changed}
    assert len(kinds) > 100
    # Two draws, each left out with probability 1/2, and a fourteenth of the rest is the identity.
    unchanged = (changed == same).flatten(1).all(dim=1).double().mean()
    assert abs(float(unchanged) - (1 / 2 + 1 / 28) ** 2) < 0.08


def test_without_probability_nothing_happens_and_the_batch_is_a_copy():
    x = as_tensor(picture())

    same = ra.rand_augment(x, generator(), probability=0.0)

    torch.testing.assert_close(same, x)
    assert same.data_ptr() != x.data_ptr()


def test_magnitudes_stay_below_their_bound(monkeypatch):
    seen = []
    monkeypatch.setattr(ra, "OPERATIONS", {"watch": lambda x, level: seen.extend(level.tolist()) or x})

    ra.rand_augment(torch.zeros(3000, 1, 2, 2), generator(), n_operations=1, below=4, probability=1.0)

    assert sorted({round(10 * level) for level in seen}) == [-3, -2, -1, 1, 2, 3]


def test_grey_pictures_are_welcome():
    x = as_tensor(picture(channels=1)).repeat(100, 1, 1, 1)

    assert PictureViews().strong(x, generator()).shape == x.shape


def test_a_hole_has_its_side_and_its_middle_anywhere_in_the_picture():
    holes = ra.cut_out(torch.ones(4000, 1, 12, 20), 4, 0.0, generator()) == 0

    areas = holes.flatten(1).sum(dim=1)
    assert areas.max() == 16
    assert areas.min() >= 4  # a quarter of the hole at a corner
    assert holes.any(dim=0).all()


# Deformations


def test_no_limits_change_nothing():
    x = torch.rand(5, 1, 8, 16, generator=generator())

    torch.testing.assert_close(deform(x, Deformation(), generator()), x, rtol=0, atol=1e-6)


def drawn(limits, n=2000, seed=3):
    """Return the uniform numbers in -1 .. 1 that a deformation draws."""
    return 2 * torch.rand((n, 8), generator=generator(seed)) - 1


def test_a_shift_moves_by_pixels_along_both_axes():
    x = torch.zeros(2000, 1, 9, 15)
    x[:, :, 4, 7] = 1.0

    shifted = deform(x, Deformation(shift=2.0), generator(3))

    right, down = 2 * drawn(None)[:, 3], 2 * drawn(None)[:, 4]
    mass = shifted.sum(dim=(1, 2, 3))
    column = (shifted.sum(dim=(1, 2)) * torch.arange(15)).sum(dim=1) / mass
    row = (shifted.sum(dim=(1, 3)) * torch.arange(9)).sum(dim=1) / mass
    torch.testing.assert_close(column, 7 - right, rtol=0, atol=1e-4)
    torch.testing.assert_close(row, 4 - down, rtol=0, atol=1e-4)


def test_a_turn_keeps_lengths_in_oblong_pictures():
    """A point three pixels right of the middle stays three pixels away from it, whatever the sides of the picture."""
    x = torch.zeros(500, 1, 15, 31)
    x[:, :, 7, 18] = 1.0

    turned = deform(x, Deformation(rotation=90.0), generator(3))

    mass = turned.sum(dim=(1, 2, 3))
    column = (turned.sum(dim=(1, 2)) * torch.arange(31)).sum(dim=1) / mass - 15
    row = (turned.sum(dim=(1, 3)) * torch.arange(15)).sum(dim=1) / mass - 7
    torch.testing.assert_close(torch.hypot(column, row), torch.full((500,), 3.0), rtol=0, atol=0.15)
    assert row.min() < -2.5
    assert row.max() > 2.5


def test_values_of_a_strong_view_stay_between_black_and_white():
    x = torch.rand(200, 1, 8, 8, generator=generator())

    strong = DigitViews().strong(x, generator())

    assert 0 <= strong.min() <= strong.max() <= 1
    assert (strong != x).flatten(1).any(dim=1).all()


def test_a_digit_is_never_mirrored():
    """A bar at the left edge stays in the left half."""
    x = torch.zeros(300, 1, 8, 8)
    x[:, :, :, 1:3] = 1.0

    weak = DigitViews().weak(x, generator())

    assert (weak[..., :4].sum(dim=(1, 2, 3)) > weak[..., 4:].sum(dim=(1, 2, 3))).all()


def test_a_crop_reflects_at_the_border():
    x = torch.arange(16.0).view(1, 1, 1, 16).expand(600, 1, 16, 16)

    rows = {tuple(row.tolist()) for row in crop_reflected(x, generator())[:, 0, 0]}

    base = list(range(16))
    assert rows == {
        tuple(float(v) for v in line) for line in (base, [1, *base[:-1]], [2, 1, *base[:-2]], [*base[1:], 14], [*base[2:], 14, 13])
    }


# Words


def test_words_are_left_out_and_a_row_keeps_its_length():
    x = torch.rand(50, 400, generator=generator())

    fewer = drop_features(x, 0.3, generator())

    torch.testing.assert_close(fewer.norm(dim=1), x.norm(dim=1))
    assert abs(float((fewer == 0).double().mean()) - 0.3) < 0.02


def test_a_row_of_which_nothing_is_left_is_zero():
    assert (drop_features(torch.ones(20, 1), 0.999, generator()) == 0).all()


@pytest.mark.parametrize("views", [DigitViews(), PictureViews(), FeatureViews()], ids=["digits", "pictures", "words"])
def test_equal_generators_give_equal_views_and_the_batch_is_left_alone(views):
    shape = (6, 50) if isinstance(views, FeatureViews) else (6, 1, 8, 8)
    x = torch.rand(shape, generator=generator())
    before = x.clone()
    for view in (views.weak, views.strong):
        torch.testing.assert_close(view(x, generator(1)), view(x, generator(1)))
        assert not torch.equal(view(x, generator(1)), view(x, generator(2)))

    torch.testing.assert_close(x, before)
