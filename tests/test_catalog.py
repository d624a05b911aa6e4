"""The catalog, its prices on its date, and what a malformed one says."""

import datetime as dt

import pytest

from routerlab import billing
from routerlab.catalog import DEFAULT_CATALOG, load_catalog
from routerlab.errors import CatalogError, UnknownModel, UnknownTier
from routerlab.types import TIERS, Usage


def test_six_providers_fifteen_models_four_tiers(catalog):
    assert len(catalog.providers) == 6
    assert len(catalog.models) == 15
    assert [len(catalog.of_tier(tier)) for tier in TIERS] == [4, 4, 4, 3]


def test_prices_agree_with_genai_prices_on_the_date(catalog):
    at = billing.price_time(catalog)
    assert at.date() == catalog.price_date
    for model in catalog.models:
        for usage in (Usage(1_000, 0), Usage(0, 1_000)):
            expected = model.list_price(usage.input_tokens, usage.output_tokens)
            assert billing.price(usage, model, catalog, at) == pytest.approx(expected), model.id


def test_cached_input_is_cheaper(catalog):
    at = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    model = catalog.model("gpt-6.1-sol")
    plain = billing.price(Usage(10_000, 0), model, catalog, at)
    cached = billing.price(Usage(10_000, 0, cached_input_tokens=8_000), model, catalog, at)
    assert 0 < cached < plain


def test_unknown_names_say_what_exists(catalog):
    with pytest.raises(UnknownModel, match="gpt-6-luna"):
        catalog.model("gpt-2")
    with pytest.raises(UnknownTier, match="reasoning"):
        catalog.of_tier("galactic")


GOOD = DEFAULT_CATALOG.read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml [", "not valid TOML"),
        ("", "version"),
        (GOOD.replace("version = 1", "version = 9"), "version is 9"),
        (GOOD.replace('tier = "simple"', 'tier = "easy"'), "unknown tier 'easy'"),
        (GOOD.replace('provider = "xai"', 'provider = "x"'), "provider 'x'"),
        (GOOD.replace("usd_per_mtok = [0.1, 0.5]", "usd_per_mtok = [-1, 0.5]"), "negative"),
        (GOOD.replace("usd_per_mtok = [0.1, 0.5]", "usd_per_mtok = [1]"), "gpt-6-luna"),
        (GOOD.replace("ttft_ms = 320", ""), "'ttft_ms' is missing"),
        (GOOD.replace('adapter = "anthropic"', 'adapter = "soap"'), "adapter 'soap'"),
        (GOOD.replace('name = "Groq"', 'nome = "Groq"'), "nome"),
        (GOOD.replace('id = "grok-4.7"', 'id = "gpt-6-luna"'), "same id"),
        (GOOD.replace('tier = "reasoning"', 'tier = "complex"'), "no model serves reasoning"),
        (GOOD.replace("2026-11-01", '"November"'), "price_date"),
        (GOOD.replace("low = 1.47", "low = 9.9"), "low <= factor"),
    ],
)
def test_malformed_catalog_says_where(tmp_path, text, says):
    assert text != GOOD
    path = tmp_path / "catalog.toml"
    path.write_text(text)
    with pytest.raises(CatalogError, match=says) as caught:
        load_catalog(path)
    assert str(path) in str(caught.value)


def test_missing_catalog_says_so(tmp_path):
    with pytest.raises(CatalogError, match="cannot read"):
        load_catalog(tmp_path / "none.toml")
