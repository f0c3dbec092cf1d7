"""A photograph shows the sample under the tip, brighter with exposure, noisier by the square root."""

import threading

import numpy as np
import pytest

from labretto.instrument.describe import describe
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.camera import BRIGHTNESS, OFFSET, TABLE, Camera
from labretto.instrument.simulated.library import SAMPLES
from labretto.instrument.simulated.stage import SampleStage


@pytest.fixture
def camera(tmp_path):
    return Camera(time_scale=0, bench=str(tmp_path))


@pytest.fixture
def stage(tmp_path):
    return SampleStage(velocity=500, acceleration=5000, bench=str(tmp_path))


def middle(photograph):
    """Mean count above the offset in the middle, where the light is even."""
    height, width = photograph.shape
    return float(photograph[height // 2 - 10 : height // 2 + 10, width // 2 - 10 : width // 2 + 10].mean()) - OFFSET


def test_a_photograph_has_rows_and_columns_of_16_bits(camera):
    photograph = camera.photograph(exposure=0.1)

    assert (photograph.shape, photograph.dtype) == ((240, 320), np.uint16)
    assert (camera.height, camera.width) == photograph.shape


async def test_the_brightness_of_a_sample_tells_its_composition(camera, stage):
    for name in ("A1", "D4"):
        await stage.move_to(name)
        told = sum(share * bright for share, bright in zip(SAMPLES[name].composition, BRIGHTNESS, strict=True))

        assert middle(camera.photograph(exposure=0.5)) == pytest.approx(told * 0.5, rel=0.02)


def test_without_a_stage_the_empty_table_is_seen(camera):
    assert middle(camera.photograph(exposure=0.5)) == pytest.approx(TABLE * 0.5, rel=0.02)


def test_the_light_collected_grows_with_the_exposure(camera):
    assert middle(camera.photograph(exposure=2.0)) == pytest.approx(
        4 * middle(camera.photograph(exposure=0.5)), rel=0.02
    )


async def test_too_long_an_exposure_saturates(camera, stage):
    await stage.move_to("A1")

    assert camera.photograph(exposure=10).max() == 65_535


def test_the_noise_is_that_of_photons(camera):
    """The variance of a difference of two photographs is twice the mean, and the amplifier's beside it."""
    first, second = (camera.photograph(exposure=1.0).astype(float) for _ in range(2))

    assert (first - second).var() == pytest.approx(2 * ((first.mean() - OFFSET) + 3.0**2), rel=0.03)


async def test_a_step_to_the_right_shifts_the_picture_to_the_left(camera, stage):
    """The first row is at the greatest y: a step up shifts the picture down."""
    await stage.move(x=SAMPLES["B2"].x + 1.0, y=SAMPLES["B2"].y + 0.5)
    bright = camera.photograph(exposure=0.5) > 2 * (TABLE * 0.5 + OFFSET)
    rows, columns = np.nonzero(bright)

    assert (columns.mean(), rows.mean()) == pytest.approx((159.5 - 40, 119.5 + 20), abs=1.0)


def test_the_noise_is_alike_for_one_seed(tmp_path):
    pictures = [Camera(seed=seed, time_scale=0, bench=str(tmp_path)).photograph() for seed in (1, 1, 2)]

    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_stop_from_another_thread_ends_the_exposure_with_an_error(tmp_path):
    exposing, errors = threading.Event(), []

    class Announcing(Camera):
        def _light(self):
            exposing.set()
            return super()._light()

    camera = Announcing(time_scale=0.001, bench=str(tmp_path))

    def expose():
        try:
            camera.photograph(exposure=10)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=expose)
    thread.start()
    exposing.wait(5)
    camera.stop()
    thread.join(5)

    assert errors == ["camera.photograph: stopped during the exposure; there is no picture"]


@pytest.mark.parametrize("exposure", [0, 11, float("nan")])
def test_an_exposure_outside_its_limits_is_refused(camera, exposure, tmp_path):
    with pytest.raises(ValueError, match="nothing was exposed"):
        camera.photograph(exposure=exposure)

    assert Bench(tmp_path).physical_log() == []


@pytest.mark.parametrize("setting", [{"width": 0}, {"height": 0}, {"time_scale": -1.0}])
def test_a_camera_that_cannot_be_is_refused(setting):
    with pytest.raises(ValueError, match="cannot be"):
        Camera(**setting)


def test_its_description_carries_unit_axes_and_effect():
    action = describe(Camera, name="camera").description.actions["photograph"]

    assert action.effect == "read"
    assert (action.result["unit"], action.result["dims"]) == ("count", ["y", "x"])
