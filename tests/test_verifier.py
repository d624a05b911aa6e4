"""The same-answer verifier: scores, its file, and what is not taken for one."""

import math
import os
import pickle
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routerlab.cache.evidence import NAMES
from routerlab.cache.verifier import VERIFIER_FILE, Networks, SameAnswerVerifier, load_verifier
from routerlab.errors import CacheFileError

PAIRS = [
    ("how do I boil an egg", "how to boil an egg"),
    ("how do I boil an egg", "how do I not boil an egg"),
    ("5 km in miles", "6 km in miles"),
    ("", "¿qué?"),
]
COSINES = [0.97, 0.95, 0.93, 0.1]


def test_evidence_is_the_same_in_every_process():
    """Strings hash differently in each, so that sets come in another order."""
    asked = """
import random
from routerlab.cache.evidence import compare
from routerlab.cache.reading import read
draw = random.Random(0)
words = [f"{a}{b}" for a in "bcdfgh" for b in ("oat", "ending", "arrow", "ivory", "uncle")]
rarity = {word: draw.uniform(1, 9) for word in words}
texts = [" ".join(draw.sample(words, 14)) for _ in range(200)]
readings = [read(text, rarity) for text in texts]
print([compare(a, b, 0.9) for a, b in zip(readings, readings[1:])])
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", asked],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(told) == 1
    assert told != {b""}


def networks(members=2, units=3, seed=0, **changes) -> Networks:
    draw = np.random.default_rng(seed)
    evidence = len(NAMES)
    arrays = {
        "mean": draw.normal(size=evidence),
        "scale": draw.uniform(0.5, 2, size=evidence),
        "hidden": draw.normal(size=(evidence, members * units)),
        "hidden_bias": draw.normal(size=members * units),
        "out": draw.normal(size=members * units),
        "out_bias": draw.normal(size=members),
        "slope": 0.3,
        "offset": -0.2,
    }
    return Networks(**{**arrays, **changes})


def verifier(**changes) -> SameAnswerVerifier:
    return SameAnswerVerifier(networks(**changes), {"egg": 4.0, "boil": 6.5}, "e")


def by_hand(told: Networks, row: np.ndarray) -> float:
    """The mean of the members' logits, one unit after the other, then calibrated."""
    members, units = len(told.out_bias), len(told.out) // len(told.out_bias)
    logits = []
    for member in range(members):
        logit = told.out_bias[member]
        for unit in range(member * units, (member + 1) * units):
            inner = told.hidden_bias[unit] + sum(
                (row[i] - told.mean[i]) / told.scale[i] * told.hidden[i, unit]
                for i in range(len(row))
            )
            logit += max(inner, 0) * told.out[unit]
        logits.append(logit)
    return 1 / (1 + math.exp(-(told.slope * np.mean(logits) + told.offset)))


def test_scores_are_what_the_networks_say():
    made = verifier()
    rows = made.evidence(PAIRS, COSINES)
    assert rows.shape == (len(PAIRS), len(NAMES))
    wanted = [by_hand(made.networks, row) for row in rows]
    assert made.scores(PAIRS, COSINES) == pytest.approx(wanted)
    assert all(0 <= score <= 1 for score in wanted)
    assert len(set(wanted)) == len(wanted)


def test_one_pair_scores_as_it_does_among_many():
    made = verifier()
    one_by_one = [made.score(*pair, c) for pair, c in zip(PAIRS, COSINES, strict=True)]
    assert made.scores(PAIRS, COSINES) == pytest.approx(one_by_one)
    assert made.scores([], []).shape == (0,)
    assert made.evidence([], []).shape == (0, len(NAMES))
    with pytest.raises(ValueError, match="zip"):
        made.scores(PAIRS, [0.9])


def only(name: str, weight: float) -> SameAnswerVerifier:
    """One unit that looks at one piece of evidence."""
    hidden = np.zeros((len(NAMES), 1))
    hidden[NAMES.index(name), 0] = 1
    one = np.ones(1)
    told = Networks(
        np.zeros(len(NAMES)), np.ones(len(NAMES)), hidden, 0 * one, weight * one, 0 * one
    )
    return SameAnswerVerifier(told, {}, "e")


def test_a_verifier_made_by_hand_reads_its_evidence():
    made = only("numbers differ", -20)
    assert made.score("5 km in miles", "6 km in miles", 0.99) < 1e-8
    assert made.score("5 km in miles", "miles in 5 km", 0.99) == 0.5
    made = only("cosine", 1)
    assert made.score("a", "b", 0.7) == pytest.approx(1 / (1 + math.exp(-0.7)))


@settings(deadline=None)
@given(one=st.text(max_size=30), other=st.text(max_size=30), cosine=st.floats(-1, 1))
def test_scores_are_symmetric_and_never_nan(one, other, cosine):
    made = verifier()
    score = made.score(one, other, cosine)
    assert 0 <= score <= 1
    assert score == pytest.approx(made.score(other, one, cosine), abs=1e-9)


def test_extreme_logits_are_probabilities_without_a_warning():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert only("cosine", 5_000).score("a", "b", 1.0) == 1
        assert only("cosine", -5_000).score("a", "b", 1.0) == pytest.approx(0)


def test_save_and_load_give_equal_scores(tmp_path):
    path = tmp_path / "deep" / VERIFIER_FILE
    made = verifier()
    made.save(path)
    loaded = load_verifier(path, "e")
    assert np.array_equal(loaded.scores(PAIRS, COSINES), made.scores(PAIRS, COSINES))
    assert loaded.rarity == made.rarity
    assert loaded.embedder_id == "e"
    assert [found.name for found in path.parent.iterdir()] == [VERIFIER_FILE]
    loaded.save(path)
    assert load_verifier(path, "e").networks.slope == made.networks.slope


def test_rarity_is_kept_to_the_bit(tmp_path):
    made = SameAnswerVerifier(networks(), {"egg": float(np.float32(4.1)), "ünï": 0.5}, "e")
    made.save(tmp_path / VERIFIER_FILE)
    assert load_verifier(tmp_path / VERIFIER_FILE, "e").rarity == made.rarity


def test_the_file_holds_arrays_alone(tmp_path):
    path = tmp_path / VERIFIER_FILE
    verifier().save(path)
    with np.load(path, allow_pickle=False) as kept:
        assert all(kept[name].dtype != object for name in kept.files)


def test_no_file_or_another_embedding_is_no_verifier(tmp_path):
    path = tmp_path / VERIFIER_FILE
    assert load_verifier(path, "e") is None
    verifier().save(path)
    assert load_verifier(path, "another") is None


class Trap:
    """Runs what it likes when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_is_never_read(tmp_path):
    path = tmp_path / VERIFIER_FILE
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CacheFileError):
        load_verifier(path, "e")
    np.savez(path, mean=np.array([Trap()], dtype=object), names=np.array(NAMES))
    with pytest.raises(CacheFileError):
        load_verifier(path, "e")


def altered(path, **changes) -> None:
    """Rewrite arrays of the file; None leaves one out."""
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})


WRONG = {
    "other evidence": {"names": np.array([*NAMES[:-1], "something new"])},
    "fewer evidence": {"names": np.array(NAMES[:-1])},
    "no weights": {"hidden": None},
    "not finite": {"out_bias": np.array([1.0, np.nan])},
    "calibration not finite": {"calibration": np.array([1.0, np.nan])},
    "short calibration": {"calibration": np.array([1.0])},
    "weights of another shape": {"hidden": np.ones((3, 6))},
    "uneven members": {"out": np.ones(5), "hidden_bias": np.ones(5)},
    "text for weights": {"mean": np.array(["a"] * len(NAMES))},
    "rarity of other stems": {"rarity": np.ones(5)},
    "rarity not finite": {"rarity": np.array([np.inf, 1.0])},
    "a scale of nothing": {"scale": np.zeros(len(NAMES))},
}


@pytest.mark.parametrize("kind", [*WRONG, "garbage", "empty", "truncated", "one array", "folder"])
def test_a_file_of_something_else_says_what_to_do(tmp_path, kind):
    path = tmp_path / VERIFIER_FILE
    verifier().save(path)
    data = path.read_bytes()
    if kind in WRONG:
        altered(path, **WRONG[kind])
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "one array":
        with path.open("wb") as stream:
            np.save(stream, np.ones(3))
    else:
        wrong = {"garbage": b"no archive " * 99, "empty": b"", "truncated": data[: len(data) // 2]}
        path.write_bytes(wrong[kind])
    with pytest.raises(CacheFileError, match="03_calibrate_cache") as caught:
        load_verifier(path, "e")
    assert VERIFIER_FILE in str(caught.value)


def test_a_flipped_byte_is_told_or_harmless(tmp_path):
    path = tmp_path / VERIFIER_FILE
    made = verifier()
    made.save(path)
    data, draw = path.read_bytes(), random.Random(0)
    wanted = made.scores(PAIRS, COSINES)
    told = 0
    for place in draw.sample(range(len(data)), 250):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            loaded = load_verifier(path, "e")
        except CacheFileError:
            told += 1
        else:
            assert loaded is None or np.array_equal(loaded.scores(PAIRS, COSINES), wanted)
    assert told > 150


def test_threads_share_a_verifier(monkeypatch):
    monkeypatch.setattr("routerlab.cache.verifier._KEPT_READINGS", 5)
    made, failures = verifier(), []
    wanted = verifier().scores(PAIRS, COSINES)

    def work() -> None:
        try:
            for turn in range(30):
                made.reading(f"another text {turn}")
                assert np.array_equal(made.scores(PAIRS, COSINES), wanted)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(made._readings) == 5
