"""What was calibrated, as files, and the cache that is opened from them."""

import json

import numpy as np
import pytest
from entries import PUT, key, unit
from test_verifier import verifier

from routerlab.cache import DEFAULT_THRESHOLD
from routerlab.cache.calibration import (
    CALIBRATION_FILE,
    DEFAULT_MAX_FALSE_HIT_RATE,
    CacheCalibration,
    load_calibration,
    open_cache,
)
from routerlab.cache.verifier import VERIFIER_FILE
from routerlab.errors import CacheFileError

THRESHOLDS = {"0.001": 0.99, "0.01": 0.9, "0.05": 0.7}
CALIBRATION = CacheCalibration(THRESHOLDS, "e", 0.3)


@pytest.fixture
def folder(tmp_path):
    """A folder with a verifier and a calibration for the embedding `e`."""
    verifier().save(tmp_path / VERIFIER_FILE)
    CALIBRATION.save(tmp_path / CALIBRATION_FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [
        (0.0005, None),
        (0.001, 0.99),
        (0.002, 0.99),
        (0.01, 0.9),
        (0.02, 0.9),
        (0.05, 0.7),
        (0.5, 0.7),
    ],
)
def test_the_threshold_is_that_of_the_rate_below(rate, threshold):
    assert CALIBRATION.threshold(rate) == threshold


def test_a_rate_may_be_written_in_any_way():
    assert CacheCalibration({"1e-2": 0.9, "0.050": 0.7}, "e", 0.3).threshold(0.02) == 0.9
    assert CacheCalibration({"1e-2": 0.9, "0.050": 0.7}, "e", 0.3).threshold(0.05) == 0.7


def test_save_and_load(tmp_path):
    path = tmp_path / "deep" / CALIBRATION_FILE
    assert load_calibration(path, "e") is None
    CALIBRATION.save(path)
    assert load_calibration(path, "e") == CALIBRATION
    assert load_calibration(path, "another embedding") is None


WRONG = [
    "",
    "[]",
    "{}",
    "null",
    "{'thresholds'",
    '{"threshold": 0.87, "embedder_id": "e", "near_miss_share": 0.01}',
    '{"thresholds": {}, "embedder_id": "e", "near_miss_share": 0.3}',
    '{"thresholds": [0.9], "embedder_id": "e", "near_miss_share": 0.3}',
    '{"thresholds": {"some": 0.9}, "embedder_id": "e", "near_miss_share": 0.3}',
    '{"thresholds": {"0.01": "high"}, "embedder_id": "e", "near_miss_share": 0.3}',
    '{"thresholds": {"0.01": NaN}, "embedder_id": "e", "near_miss_share": 0.3}',
    '{"thresholds": {"0.01": 0.9}, "embedder_id": "e", "near_miss_share": 0.3, "more": 1}',
    "\ufeffnot utf-8: \udcff",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_file_of_something_else_says_what_to_do(tmp_path, text):
    path = tmp_path / CALIBRATION_FILE
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CacheFileError, match="03_calibrate_cache") as caught:
        load_calibration(path, "e")
    assert str(path) in str(caught.value)
    with pytest.raises(CacheFileError, match="delete the file"):
        open_cache("memory://", embedder_id="e", model_dir=tmp_path)


def test_a_closed_threshold_can_not_be_written(tmp_path):
    """JSON has no infinity: a rate that nothing holds is left out instead."""
    with pytest.raises(ValueError, match="JSON"):
        CacheCalibration({"0.01": float("inf")}, "e", 0.3).save(tmp_path / CALIBRATION_FILE)
    assert list(tmp_path.iterdir()) == []


def opened(folder, **options):
    return open_cache("memory://", **{"embedder_id": "e", "model_dir": folder, **options})


def test_a_cache_with_both_files(folder):
    cache = opened(folder)
    assert cache.threshold == CALIBRATION.threshold(DEFAULT_MAX_FALSE_HIT_RATE) == 0.9
    assert "no judge audits it" in cache.stats().control
    cache.put(key("5 km in miles"), unit(1), "3.1", **PUT)
    told = cache.get(key("6 km in miles"), unit(1, 0.1))
    wanted = verifier().score("6 km in miles", "5 km in miles", 1 / np.hypot(1, 0.1))
    assert told.score == pytest.approx(wanted, abs=1e-5)
    assert opened(folder, max_false_hit_rate=0.2).threshold == 0.7


def test_a_rate_below_every_calibrated_one_closes_the_semantic_layer(folder):
    cache = opened(folder, max_false_hit_rate=0.0001)
    cache.put(key("q"), unit(1), "a", **PUT)
    assert cache.threshold == float("inf")
    assert not cache.get(key("the very q"), unit(1)).hit
    assert cache.get(key("q")).hit


@pytest.mark.parametrize("missing", [VERIFIER_FILE, CALIBRATION_FILE, "both", "other embedding"])
def test_a_cache_without_the_files_goes_by_a_high_cosine(folder, missing):
    for name in (VERIFIER_FILE, CALIBRATION_FILE):
        if missing in (name, "both"):
            (folder / name).unlink()
    cache = opened(folder, embedder_id="f" if missing == "other embedding" else "e")
    assert (cache.threshold, cache.verifier) == (DEFAULT_THRESHOLD, None)
    cache.put(key("q"), unit(1), "a", **PUT)
    assert cache.get(key("almost q"), unit(1, 0.1)).hit
    assert not cache.get(key("hardly q"), unit(1, 0.4)).hit


@pytest.mark.parametrize("with_files", [True, False])
def test_a_judge_is_asked_with_the_files_or_without(folder, with_files):
    if not with_files:
        (folder / CALIBRATION_FILE).unlink()
    cache = opened(folder, max_false_hit_rate=0.02, audited=True)
    assert (cache.controller.audited, cache.controller.max_false_hit_rate) == (True, 0.02)
    cache.put(key("q"), unit(1), "a", **PUT)
    assert cache.get(key("the q"), unit(1, 0.1)).audit is not None


@pytest.mark.parametrize("with_files", [True, False])
def test_nonsense_rates_are_refused(folder, with_files):
    if not with_files:
        (folder / CALIBRATION_FILE).unlink()
    for rate in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="max_false_hit_rate"):
            opened(folder, max_false_hit_rate=rate)


def test_an_older_calibration_is_told_by_name(folder):
    old = {"threshold": 0.87, "embedder_id": "e", "max_false_hit_rate": 0.01}
    (folder / CALIBRATION_FILE).write_text(json.dumps(old))
    with pytest.raises(CacheFileError, match=CALIBRATION_FILE):
        opened(folder)
