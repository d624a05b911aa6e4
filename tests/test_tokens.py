"""Token counts against published ones, their classes, and life without the tokenizer files."""

import math
import random
import re

import pandas as pd
import pytest

from routerlab import tokens
from routerlab.errors import DataError
from routerlab.lab import encodings, tokencheck
from routerlab.lab.references import COOKBOOK_COUNTS, COOKBOOK_MESSAGES, references
from routerlab.lab.tokencheck import CountPair
from routerlab.query import Message


@pytest.mark.parametrize(("encoding", "count"), COOKBOOK_COUNTS.items())
def test_cookbook_messages(encoding, count):
    assert tokens.count_chat(COOKBOOK_MESSAGES, encoding) == count


def test_published_figures_are_reproduced():
    for reference in references():
        assert reference["got"] == pytest.approx(reference["expected"], abs=1e-9), reference["name"]


def test_special_tokens_count_as_text():
    assert tokens.count_text("<|endoftext|>") > 1


def test_long_unbroken_text_is_counted_in_reasonable_time():
    assert tokens.count_text("a" * 200_000) > 1_000


def test_a_text_in_pieces_has_the_count_of_the_whole():
    draw = random.Random(0)
    words = "The quick, brown fox isn't (ever) 12345; naïve 日本語 per-cent\n\n\tdef".split(" ")
    text = " ".join(draw.choices(words, k=15_000))
    assert len(text) > 3 * tokens._PIECE_CHARS
    whole = tokens.encoding().encode(text, disallowed_special=())
    assert tokens.count_text(text) == len(whole)


def test_bands_follow_from_the_stated_undercount(catalog):
    """`source` says by how much o200k_base undercounts; the true count is 1 / (1 - e) of it."""
    calibrated = {m.counter for m in catalog.models if m.counter.kind == "calibrated"}
    assert len(calibrated) == 2
    for counter in calibrated:
        least, largest = map(int, re.findall(r"by (\d+) to (\d+) %", counter.source)[0])
        assert counter.low == math.floor(1e4 / (100 - least)) / 100
        assert counter.high == math.ceil(1e4 / (100 - largest)) / 100
        assert counter.factor == pytest.approx(1e2 / (100 - (least + largest) / 2), abs=0.006)


def test_classes_follow_from_what_is_known_of_the_vendor(catalog):
    kinds = {m.provider: m.counter.kind for m in catalog.models}
    assert kinds == {
        "openai": "exact",
        "anthropic": "calibrated",
        "mistral": "calibrated",
        "google": "rough",
        "xai": "rough",
        "groq": "rough",
    }
    for model in catalog.models:
        counter = model.counter
        exact = (counter.low, counter.factor, counter.high) == (1, 1, 1)
        assert exact == (counter.kind == "exact")
        assert counter.source


def test_classes_of_counters(catalog):
    messages = [Message("user", "How many tokens does this sentence have, do you think?")]
    exact = tokens.count_messages(messages, catalog.model("gpt-6-luna"))
    claude = tokens.count_messages(messages, catalog.model("claude-opus-5-5"))
    rough = tokens.count_messages(messages, catalog.model("grok-4.7"))
    assert (exact.kind, claude.kind, rough.kind) == ("exact", "calibrated", "rough")
    assert exact.low == exact.tokens == exact.high
    assert exact.tokens < claude.low <= claude.tokens <= claude.high
    assert rough.low < rough.tokens < rough.high


@pytest.fixture
def no_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokens.encoding.cache_clear()
    yield tmp_path
    tokens.encoding.cache_clear()


def test_without_files_the_error_names_the_command(no_files):
    with pytest.raises(DataError, match="make data"):
        tokens.count_text("hello")


@pytest.mark.parametrize(
    "text", ["", "x", "Plain words, as people write them. " * 20, "日本語🙂" * 50]
)
def test_without_files_the_band_still_holds_the_count(text, catalog, monkeypatch, tmp_path):
    messages = [Message("system", "Be brief."), Message("user", text)]
    for model in (catalog.model("gpt-6-luna"), catalog.model("claude-opus-5-5")):
        real = tokens.count_messages(messages, model), tokens.count_answer(text, model)
        with monkeypatch.context() as patch:
            patch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
            tokens.encoding.cache_clear()
            rough = tokens.count_messages(messages, model), tokens.count_answer(text, model)
        tokens.encoding.cache_clear()
        for there, here in zip(real, rough, strict=True):
            assert here.kind == "rough"
            assert here.low <= here.tokens <= here.high
            assert here.low <= there.low <= there.high <= here.high


async def test_without_files_routing_goes_on_and_says_so(no_files, make_router):
    decision = await make_router().route_query("hello there")
    assert decision.input_tokens.kind == "rough"
    assert any("make data" in note for note in decision.notes)


def test_file_with_a_wrong_hash_is_not_taken(no_files, monkeypatch):
    file = tokens.ENCODING_FILES["o200k_base"]
    with pytest.raises(DataError, match="wrong hash"):
        encodings._put(b"not the file", "o200k_base", file, no_files)
    assert not list(no_files.iterdir())


def test_neither_source_reachable_says_what_to_do(no_files, monkeypatch):
    monkeypatch.setattr(encodings, "_DOWNLOAD", "raise SystemExit(1)")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(no_files))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DataError, match="make data"):
        encodings.ensure_encodings()


def test_token_error_by_class():
    pairs = [CountPair("exact", 100, 100)] * 9 + [CountPair("exact", 90, 100)]
    pairs += [CountPair("rough", 150, 100), CountPair("rough", 50, 100)]
    error = tokencheck.token_error(pairs, seed=0)
    assert list(error) == ["exact", "rough"]
    assert error["exact"]["p50"].value == 0
    assert 0 < error["exact"]["p95"].value <= 0.1
    assert error["rough"]["p50"].value == error["rough"]["p95"].value == 0.5
    assert (error["exact"]["p50"].n, error["rough"]["p95"].n) == (10, 2)
    assert tokencheck.token_error([], seed=0) == {}


def test_only_what_a_provider_counted_is_compared():
    good = {
        "mode": "live",
        "attempts": 1,
        "usage_source": "provider",
        "estimate_kind": "exact",
        "estimated_input_tokens": 90,
        "input_tokens": 100,
    }
    bad = [
        {"mode": "simulated"},
        {"attempts": 2},
        {"attempts": 0, "usage_source": "cache"},
        {"usage_source": "partial"},
        {"usage_source": "estimated"},
        {"input_tokens": 0},
    ]
    rows = pd.DataFrame([good, {**good, "mode": "replayed"}, *({**good, **one} for one in bad)])
    assert tokencheck.pairs(rows) == [CountPair("exact", 90, 100)] * 2
