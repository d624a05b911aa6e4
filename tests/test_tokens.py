"""Token counts against published ones, their classes, and life without the tokenizer files."""

import pytest

from routerlab import tokens
from routerlab.errors import DataError
from routerlab.lab import encodings
from routerlab.lab.references import COOKBOOK_COUNTS, COOKBOOK_MESSAGES, references
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
