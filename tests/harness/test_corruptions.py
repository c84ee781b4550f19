"""The corruptions of CIFAR-10-C: closed forms, laws of the noises, and what OpenCV and ImageMagick gave for fixed pictures."""

from __future__ import annotations

import colorsys
import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from harness.training import corruptions
from harness.training.corruptions import EXTRA, NAMES, SEVERITIES, corrupt_images

ALL = (*NAMES, *EXTRA)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def smooth_pictures(n: int = 24, seed: int = 0) -> np.ndarray:
    """Make pictures with areas, edges and colours, as photographs have them."""
    noise = ndimage.gaussian_filter(generator(seed).normal(size=(n, 32, 32, 3)), (0, 3, 3, 0.5), mode="wrap")
    noise = np.where(noise > 0.02, noise + 0.1, noise) / noise.std() * 45 + 120

    return np.clip(noise, 0, 255).astype(np.uint8)


def patterned_picture() -> np.ndarray:
    row, column, channel = np.mgrid[:32, :32, :3]

    return ((row * 37 + column * 11 + channel * 53 + (row * column) % 23 * 5) % 256).astype(np.uint8)


def grey(value: int, n: int = 40) -> np.ndarray:
    return np.full((n, 32, 32, 3), value, dtype=np.uint8)


PHOTOGRAPHS = [np.clip(generator(i).normal(120 + 10 * i, 40, size=(200, 190 + 7 * i, 3)), 0, 255).astype(np.uint8) for i in range(6)]


def corrupted(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    return corrupt_images(images, name, severity, generator(seed), PHOTOGRAPHS)


def change(images: np.ndarray, name: str, severity: int) -> float:
    return np.abs(corrupted(images, name, severity).astype(int) - images).mean()


# All


def test_there_are_the_15_and_the_4_of_the_paper():
    assert len(NAMES) == 15
    assert EXTRA == ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    assert len(set(ALL)) == 19


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ALL)
def test_a_corruption_gives_pictures_that_its_generator_decides_and_leaves_the_input_alone(name, severity):
    images = smooth_pictures()
    before = images.copy()

    first, again = corrupted(images, name, severity), corrupted(images, name, severity)

    assert first.shape == images.shape
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != images).any()
    assert (images == before).all()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in ALL
        if name not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate")
    ],
)
def test_another_generator_corrupts_otherwise_and_each_picture_has_draws_of_its_own(name):
    images = np.repeat(smooth_pictures(1), 8, axis=0)

    first, other = corrupted(images, name, 3), corrupted(images, name, 3, seed=1)

    assert (first != other).any()
    assert len({picture.tobytes() for picture in first}) > 1


@pytest.mark.parametrize(
    "name",
    ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "zoom_blur", "gaussian_blur", "motion_blur", "snow", "fog",
     "brightness", "contrast", "pixelate", "jpeg_compression"],
)  # fmt: skip
def test_a_higher_severity_changes_a_picture_more(name):
    images = smooth_pictures()

    changes = [change(images, name, severity) for severity in SEVERITIES]

    assert all(
        later >= 0.98 * earlier for earlier, later in itertools.pairwise(changes)
    )  # motion blur of severities 3 and 4 differs in its cut alone
    assert changes[4] > 1.3 * changes[0]


@pytest.mark.parametrize("name", ALL)
def test_no_pictures_are_corrupted_to_no_pictures(name):
    assert corrupted(grey(0, 0), name, 1).shape == (0, 32, 32, 3)


def test_what_follows_a_group_of_pictures_does_not_change_it():
    images = np.repeat(smooth_pictures(1), corruptions.CHUNK + 3, axis=0)

    assert (
        corrupted(images, "gaussian_noise", 1)[: corruptions.CHUNK] == corrupted(images[: corruptions.CHUNK], "gaussian_noise", 1)
    ).all()


@pytest.mark.parametrize(
    ("images", "name", "severity", "message"),
    [
        (grey(1, 1), "fog", 0, "severity is 0, it must be 1, 2, 3, 4 or 5"),
        (grey(1, 1), "fog", 6, "severity is 6"),
        (grey(1, 1), "haze", 1, "there is no corruption 'haze'; there are gaussian_noise, shot_noise"),
        (grey(1, 1)[:, :28], "fog", 1, r"images are uint8 \(1, 28, 32, 3\), they must be uint8 \(N, 32, 32, 3\)"),
        (grey(1, 1) / 255, "fog", 1, "images are float64"),
        (grey(1, 1)[0], "fog", 1, r"uint8 \(32, 32, 3\)"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(images, name, severity, message):
    with pytest.raises(ValueError, match=message):
        corrupt_images(images, name, severity, generator())


@pytest.mark.parametrize(
    ("frost", "message"),
    [
        (None, "needs 5 photographs, 0 are given"),
        (PHOTOGRAPHS[:4], "needs 5 photographs, 4 are given"),
        ([*PHOTOGRAPHS[:4], PHOTOGRAPHS[4][:160]], r"has shape \(160, 218, 3\), it must be \(height, width, 3\) with sides of 165 or more"),
        ([*PHOTOGRAPHS[:4], PHOTOGRAPHS[4][..., 0]], r"has shape \(200, 218\)"),
    ],
)
def test_frost_without_its_photographs_is_refused(frost, message):
    with pytest.raises(ValueError, match=message):
        corrupt_images(grey(1, 1), "frost", 1, generator(), frost)


# Noise


@pytest.mark.parametrize(("severity", "scale"), list(zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True)))
def test_gaussian_noise_has_mean_0_and_the_published_deviation(severity, scale):
    difference = (corrupted(grey(128), "gaussian_noise", severity).astype(float) + 0.5 - 128) / 255  # half a step for the cut

    assert difference.mean() == pytest.approx(0, abs=4 * scale / np.sqrt(difference.size))
    assert difference.std() == pytest.approx(scale, rel=0.02)
    assert abs(stats.skew(difference, axis=None)) < 0.05


@pytest.mark.parametrize(("severity", "photons"), list(zip(SEVERITIES, (500, 250, 100, 75, 50), strict=True)))
def test_the_variance_of_shot_noise_grows_with_the_light(severity, photons):
    for value in (30, 120):
        noisy = (corrupted(grey(value), "shot_noise", severity).astype(float) + 0.5) / 255

        assert noisy.mean() == pytest.approx(value / 255, abs=0.004)
        assert noisy.var() == pytest.approx(value / 255 / photons, rel=0.05)


@pytest.mark.parametrize(("severity", "amount"), list(zip(SEVERITIES, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True)))
def test_impulse_noise_blackens_and_whitens_single_channels_alike(severity, amount):
    noisy = corrupted(grey(100), "impulse_noise", severity)
    n, hit = noisy.size, noisy != 100

    assert set(np.unique(noisy)) == {0, 100, 255}
    for value in (0, 255):
        assert (noisy == value).mean() == pytest.approx(amount / 2, abs=4 * np.sqrt(amount / n))
    assert hit.any(axis=-1).mean() == pytest.approx(1 - (1 - amount) ** 3, rel=0.1)  # channels are struck independently


@pytest.mark.parametrize(("severity", "scale"), list(zip(SEVERITIES, (0.06, 0.1, 0.12, 0.16, 0.2), strict=True)))
def test_speckle_noise_grows_with_the_light_and_spares_black(severity, scale):
    assert (corrupted(grey(0), "speckle_noise", severity) == 0).all()
    assert corrupted(grey(100), "speckle_noise", severity).std() / 100 == pytest.approx(scale, rel=0.02)


# Blur


@pytest.mark.parametrize(
    "name", ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "elastic_transform", "pixelate"]
)
def test_what_only_moves_or_averages_pixels_leaves_a_picture_of_one_colour(name):
    images = grey(200, 3)

    for severity in SEVERITIES:
        assert np.abs(corrupted(images, name, severity).astype(int) - 200).max() <= 1  # the cut may take 1 off


@pytest.mark.parametrize(("severity", "sigma"), list(zip(SEVERITIES, (0.4, 0.6, 0.7, 0.8, 1.0), strict=True)))
def test_gaussian_blur_of_a_point_is_the_bell(severity, sigma):
    images = grey(0, 1)
    images[0, 16, 16, 1] = 255

    blurred = corrupted(images, "gaussian_blur", severity)[0]

    bell = np.exp(-(np.arange(-16, 16) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    assert np.abs(blurred[..., 1] - (255 * np.outer(bell, bell) - 0.5)).max() < 1
    assert (blurred[..., [0, 2]] == 0).all()


@pytest.mark.parametrize(("severity", "smooth"), [(1, 0.4), (2, 0.5), (3, 0.6)])
def test_defocus_below_one_pixel_is_a_bell_of_three(severity, smooth):
    images = grey(0, 1)
    images[0, 16, 16] = 255

    side = np.exp(-1 / (2 * smooth**2))
    middle = 1 / (1 + 2 * side)
    expected = 255 * np.array([middle * middle, middle * middle * side, middle * middle * side * side])
    found = corrupted(images, "defocus_blur", severity)[0, :, :, 0]
    assert [found[16, 16], found[16, 17], found[17, 17], found[16, 18]] == [*np.floor(expected).astype(int), 0]


def test_the_widest_defocus_spreads_a_point_over_a_square_of_nine():
    images = grey(0, 1)
    images[0, 16, 16] = 255

    found = corrupted(images, "defocus_blur", 5)[0, :, :, 0]

    assert np.abs(found[15:18, 15:18] - 255 / 9).max() < 1
    assert found.astype(int).sum() == found[15:18, 15:18].astype(int).sum()


def test_glass_blur_takes_each_pixel_from_above_or_from_the_left_and_keeps_the_border():
    row, column = np.mgrid[:32, :32]
    images = np.repeat(np.stack([row * 8, column * 8, 0 * row], axis=-1)[None].astype(np.uint8), 200, axis=0)

    shifted = np.rint(
        (images[..., :2].astype(int) - corrupted(images, "glass_blur", 1)[..., :2]) / 8
    )  # the blur of sigma 0.05 does nothing

    inner = shifted[:, 2:, 2:]
    assert set(np.unique(inner)) == {0, 1}
    for up, left in itertools.product((0, 1), repeat=2):
        assert ((inner[..., 0] == up) & (inner[..., 1] == left)).mean() == pytest.approx(0.25, abs=0.01)
    assert (shifted[:, :2] == 0).all()
    assert (shifted[:, :, :2] == 0).all()


@pytest.mark.parametrize(
    ("radius", "sigma", "angle", "start", "end", "total"),
    [
        (
            6,
            1.5,
            30,
            (138, 165, 191, 125, 25, 52, 79, 67, 46, 66, 73, 99),
            (92, 94, 111, 147, 193, 190, 187, 185, 182, 179, 129, 68),
            393_574,
        ),
        (
            9,
            2.5,
            -40,
            (146, 166, 186, 207, 156, 126, 81, 101, 90, 76, 73, 64),
            (74, 53, 80, 103, 134, 126, 132, 150, 180, 172, 169, 129),
            393_333,
        ),
        (
            12,
            6,
            -100,
            (80, 88, 101, 116, 98, 113, 128, 111, 111, 126, 141, 125),
            (104, 101, 102, 125, 139, 134, 132, 125, 121, 153, 126, 104),
            386_563,
        ),
    ],
)
def test_motion_is_blurred_as_imagemagick_does(radius, sigma, angle, start, end, total):
    # The output of ImageMagick 6.9.11 Q16: convert pattern.ppm -motion-blur RADIUSxSIGMA+ANGLE
    blurred = corruptions._dragged(patterned_picture()[None], radius, sigma, np.array([angle]))[0]

    assert tuple(blurred[3, :12, 1]) == start
    assert tuple(blurred[20, 20:, 2]) == end
    assert blurred.sum() == total


@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_blur_draws_its_angle_between_plus_and_minus_45_degrees(severity, monkeypatch):
    seen = []
    monkeypatch.setattr(corruptions, "_dragged", lambda images, radius, sigma, angles: seen.append((radius, sigma, angles)) or images)

    corrupted(grey(1, 400), "motion_blur", severity)

    ((radius, sigma, angles),) = seen
    assert (radius, sigma) == ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    assert -45 <= angles.min() < -40
    assert 40 < angles.max() <= 45


@pytest.mark.parametrize("factor", [1, 1.05, 1.25, 1.75, 2.25])
def test_zoom_by_matrices_is_the_zoom_of_scipy(factor):
    x = smooth_pictures(1)[0] / 255
    kept = int(np.ceil(32 / factor))
    first = (32 - kept) // 2

    expected = ndimage.zoom(x[first : first + kept, first : first + kept], (factor, factor, 1), order=1)
    trim = (len(expected) - 32) // 2
    zoomed = corruptions._zoomed(x.transpose(2, 0, 1), factor).transpose(1, 2, 0)
    assert np.abs(zoomed - expected[trim : trim + 32, trim : trim + 32]).max() < 1e-12


# Weather


def test_snow_brightens_and_a_threshold_parts_flakes_from_clear_air():
    images = grey(40, 100)

    light = corrupted(images, "snow", 1)[..., 0].astype(float)

    clear = 0.95 * 40 + 0.05 * (40 * 1.5 + 127.5)
    assert light.min() == int(clear)
    assert 0.02 < (light > clear + 3).mean() < 0.7
    assert (corrupted(images, "snow", 5).mean() > light.mean() + 20).all()


def test_snow_falls_twice_turned_by_half_a_turn():
    dark = corrupted(grey(0, 50), "snow", 2).astype(int)

    assert (dark == dark[:, ::-1, ::-1]).mean() > 0.999  # picture of one colour: what is added is symmetric


@pytest.mark.parametrize(("severity", "share", "strength"), [(1, 1, 0.2), (2, 1, 0.3), (3, 0.9, 0.4), (4, 0.85, 0.4), (5, 0.75, 0.45)])
def test_frost_adds_a_piece_of_one_of_the_first_five_photographs(severity, share, strength):
    photographs = [np.full((180, 180, 3), 40 * number, dtype=np.uint8) for number in range(6)]

    frosted = corrupt_images(grey(60, 200), "frost", severity, generator(), photographs)

    expected = {int(share * 60 + strength * 40 * number) for number in range(5)}
    found = set(np.unique(frosted).tolist())
    assert len(found) == 5
    assert all(min(abs(value - other) for other in expected) <= 1 for value in found)


def test_pieces_of_frost_come_from_all_over_a_photograph_that_is_shrunk_to_a_fifth():
    row, column = np.mgrid[:250, :250] // 5
    photographs = [np.stack([5 * row, 5 * column, 0 * row], axis=-1).astype(np.uint8)] * 5

    frosted = corrupt_images(grey(0, 300), "frost", 5, generator(), photographs)

    corner = frosted[:, 0, 0, :2] / 0.45 / 5
    assert corner.min() < 1
    assert 15 < corner.max() < 18  # 50 - 32 places
    steps = np.diff(frosted[:, :, 0, 0].astype(float), axis=1)
    assert steps.mean() == pytest.approx(0.45 * 5, abs=0.1)


@pytest.mark.parametrize(("severity", "density"), list(zip(SEVERITIES, (0.2, 0.5, 0.75, 1, 1.5), strict=True)))
def test_fog_lies_between_none_and_its_density_and_is_thickest_and_thinnest_in_each_picture(severity, density):
    foggy = corrupted(grey(100, 20), "fog", severity)
    x = 100 / 255

    assert (foggy.min(axis=(1, 2, 3)) == int(255 * x * x / (x + density))).all()
    assert (np.abs(foggy.max(axis=(1, 2, 3)) - 100.0) <= 1).all()


def test_clouds_are_smooth_on_a_torus():
    clouds = corruptions._clouds(200, 3, generator())

    inside = np.abs(np.diff(clouds, axis=1)).mean()
    across = np.abs(clouds[:, 0] - clouds[:, -1]).mean()
    independent = np.abs(clouds[:100] - clouds[100:]).mean()
    assert across < 2 * inside < 0.5 * independent
    assert (clouds.min(axis=(1, 2)) == 0).all()
    assert (clouds.max(axis=(1, 2)) == 1).all()


# Colours


def through_hsv(pixel: np.ndarray, saturation: tuple[float, float] = (1, 0), value: float = 0) -> np.ndarray:
    h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))

    return 255 * np.array(colorsys.hsv_to_rgb(h, min(max(s * saturation[0] + saturation[1], 0), 1), min(v + value, 1)))


def colours() -> np.ndarray:
    """Give a picture of random colours, greys, black, white and full hues."""
    picture = generator(5).integers(0, 256, size=(1, 32, 32, 3), dtype=np.uint8)
    picture[0, 0] = np.arange(32)[:, None] * 8
    picture[0, 1, :8] = list(itertools.product((0, 255), repeat=3))

    return picture


@pytest.mark.parametrize(("severity", "shift"), list(zip(SEVERITIES, (0.05, 0.1, 0.15, 0.2, 0.3), strict=True)))
def test_brightness_raises_the_value_of_hsv(severity, shift):
    images = colours()

    found = corrupted(images, "brightness", severity).reshape(-1, 3).astype(float)

    expected = np.array([through_hsv(pixel, value=shift) for pixel in images.reshape(-1, 3)])
    assert np.abs(found + 0.5 - expected).max() < 0.5 + 1e-6


@pytest.mark.parametrize(
    ("severity", "constants"), list(zip(SEVERITIES, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), strict=True))
)
def test_saturate_scales_and_shifts_the_saturation_of_hsv(severity, constants):
    images = colours()

    found = corrupted(images, "saturate", severity).reshape(-1, 3).astype(float)

    expected = np.array([through_hsv(pixel, saturation=constants) for pixel in images.reshape(-1, 3)])
    assert np.abs(found + 0.5 - expected).max() < 0.5 + 1e-6


@pytest.mark.parametrize(("severity", "factor"), list(zip(SEVERITIES, (0.75, 0.5, 0.4, 0.3, 0.15), strict=True)))
def test_contrast_pulls_each_channel_towards_its_mean(severity, factor):
    images = smooth_pictures(2)

    found = corrupted(images, "contrast", severity).astype(float)

    for picture, channel in itertools.product(range(2), range(3)):
        values = images[picture, ..., channel].astype(float)
        expected = factor * values + (1 - factor) * values.sum() / 1024
        assert np.abs(found[picture, ..., channel] + 0.5 - expected).max() < 0.5 + 1e-6


# Digital


@pytest.mark.parametrize(("severity", "size"), list(zip(SEVERITIES, (30, 28, 27, 24, 20), strict=True)))
def test_pixelate_averages_the_areas_of_larger_pixels(severity, size):
    images = smooth_pictures(2)

    found = corrupted(images, "pixelate", severity).astype(float)

    def areas(n_from: int, n_to: int) -> np.ndarray:
        """Return which share of each new pixel each old one covers: centres inside, as a box filter of whole pixels has them."""
        scale = n_from / n_to
        centre = (np.arange(n_to)[:, None] + 0.5) * scale
        support = max(scale, 1) / 2
        inside = (np.arange(n_from) + 0.5 > centre - support) & (np.arange(n_from) + 0.5 <= centre + support)
        return inside / inside.sum(axis=1, keepdims=True)

    whole = areas(size, 32) @ areas(32, size)
    expected = np.einsum("ir,nrcd,jc->nijd", whole, images, whole)
    assert np.abs(found - expected).max() <= 2  # Pillow rounds after rows and after columns


@pytest.mark.parametrize(("severity", "quality"), list(zip(SEVERITIES, (80, 65, 58, 50, 40), strict=True)))
def test_jpeg_compression_has_the_published_quality(severity, quality):
    image = smooth_pictures(1)[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)

    assert (corrupted(image[None], "jpeg_compression", severity)[0] == np.asarray(Image.open(file))).all()


@pytest.mark.parametrize("border", ["mirror", "reflect"])
def test_pictures_are_sampled_between_pixels_and_beyond_the_border_as_scipy_does(border):
    x = smooth_pictures(2) / 255
    rows, columns = generator().uniform(-40, 70, size=(2, 2, 32, 32))

    sampled = corruptions._sampled(x, rows, columns, border)

    for picture, channel in itertools.product(range(2), range(3)):
        expected = ndimage.map_coordinates(x[picture, ..., channel], (rows[picture], columns[picture]), order=1, mode=border)
        assert np.abs(sampled[picture, ..., channel] - expected).max() < 1e-9


def test_the_mildest_elastic_transform_is_an_affine_map():
    row, column = np.mgrid[:32, :32]
    images = np.repeat(np.stack([row * 4 + 60, column * 4 + 60, 0 * row], axis=-1)[None].astype(np.uint8), 20, axis=0)

    moved = corrupted(images, "elastic_transform", 1)[:, 10:22, 10:22, :2].astype(float)

    for picture in moved:  # a ramp stays a ramp under an affine map
        for ramp in (picture[..., 0], picture[..., 1]):
            design = np.stack([np.ones(144), *np.mgrid[:12, :12].reshape(2, -1)], axis=1)
            assert np.abs(design @ np.linalg.lstsq(design, ramp.ravel(), rcond=None)[0] - ramp.ravel()).max() < 1.1
    assert np.abs(moved - images[:, 10:22, 10:22, :2]).mean() > 2


# Spatter


def test_water_adds_pale_turquoise_and_mud_covers_with_brown():
    images = grey(100, 60)

    water, mud = corrupted(images, "spatter", 2).astype(int), corrupted(images, "spatter", 5).astype(int)

    assert (water >= 99).all()
    wet = water[..., 1] > 110
    assert 0.01 < wet.mean() < 0.5
    assert ((water[..., 0] - 100)[wet] / (water[..., 1] - 100)[wet]).mean() == pytest.approx(175 / 238, abs=0.05)
    covered = mud[np.abs(mud[..., 0] - 63) <= 1]
    assert len(covered) > 50
    assert np.abs(covered - [63, 42, 20]).max() <= 4  # a red off by 1 is a 37th of grey
    assert (mud <= 100).all()


def test_edges_are_those_of_a_square_and_faint_ones_need_a_strong_one_beside_them():
    square = np.zeros((3, 32, 32), dtype=np.uint8)
    square[0, 8:24, 8:24] = 200
    square[1, 8:24, 8:24] = 24  # its gradient, 96 and 144 at the corners, is above the lower threshold alone
    square[2, 8:16, 8:24] = 24
    square[2, 16:24, 8:24] = 200

    edges = corruptions._edges(square, 50, 150)

    assert edges[0].sum() == pytest.approx(4 * 16, abs=6)
    assert not edges[0, 10:22, 10:22].any()
    assert not edges[1].any()
    assert edges[2, :14].any()


def test_an_equalised_histogram_begins_at_0_ends_at_255_and_keeps_the_order():
    images = generator().integers(40, 90, size=(3, 32, 32)).astype(np.uint8)
    images[2] = 7

    equalised = corruptions._equalised(images)

    for before, after in zip(images[:2], equalised[:2], strict=True):
        assert (after.min(), after.max()) == (0, 255)
        order = np.argsort(before, axis=None, kind="stable")
        assert (np.diff(after.ravel()[order]) >= 0).all()
        assert np.abs(np.sort(after, axis=None) / 255 - np.linspace(0, 1, 1024)).max() < 0.05
    assert (equalised[2] == 7).all()


def test_distances_are_those_to_the_nearest_edge_and_infinite_where_there_is_none():
    edges = np.zeros((2, 32, 32), dtype=bool)
    edges[0, 3, 4] = True

    distances = corruptions._distances(edges)

    assert distances[0, 6, 8] == 5
    assert np.isinf(distances[1]).all()
