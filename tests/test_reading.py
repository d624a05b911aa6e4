"""What is read from a text, and the evidence of a pair: whether two texts ask the same."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routerlab.cache.evidence import EVIDENCE, NAMES, compare
from routerlab.cache.reading import READ_CHARS, UNKNOWN_RARITY, read, stem, words_of

RARITY = {stem(word): rarity for word, rarity in (("capital", 5.0), ("boil", 6.0), ("egg", 4.0))}


def evidence(one: str, other: str, cosine: float = 0.9) -> dict[str, float]:
    told = compare(read(one, RARITY), read(other, RARITY), cosine)
    return dict(zip(NAMES, told, strict=True))


def test_evidence_has_a_name_each():
    assert len(set(NAMES)) == len(NAMES) == sum(map(len, EVIDENCE.values()))


SAME = [
    "What is the capital of Peru?",
    "Why did O'Brien leave GPT4 and The Beatles?",
    "How do I boil 3 eggs, not 4?",
    "¿Cómo se hierve un huevo?",
    "x² + 3 = 7",
]


@pytest.mark.parametrize("text", SAME)
def test_a_text_differs_from_itself_in_nothing(text):
    told = evidence(text, text, 1.0)
    differences = [
        *("one-sided", "both differ", "unmatched", "unmatched share", "worst less", "worst more"),
        *("numbers differ", "numbers swapped", "numbers count", "negation", "opposites"),
        *("names less", "names more", "question differs", "language", "past", "future", "order"),
    ]
    assert {name: told[name] for name in differences} == dict.fromkeys(differences, 0.0)
    assert told["same words"] == told["spelling"] == 1


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("convert 5 km to miles", "convert 6 km to miles", True),
        ("two plus 2", "2 plus two", False),
        ("1,000 steps", "1000 steps", False),
        ("a dozen eggs", "12 eggs", False),
        ("chapter 3", "chapter three", False),
        ("chapter 3", "chapter 3.5", True),
        ("version 1.10", "version 1.1", True),
        ("forty winks", "50 winks", True),
        ("three cats and two dogs", "3 cats and 2 dogs please", False),
    ],
)
def test_numbers(one, other, differ):
    told = evidence(one, other)
    assert bool(told["numbers differ"]) is differ
    assert bool(told["numbers count"]) is differ


def test_a_number_for_another_is_told_from_one_more():
    assert evidence("convert 5 km", "convert 6 km")["numbers swapped"] == 1
    added = evidence("convert 5 km", "convert 5 km in 2 steps")
    assert (added["numbers differ"], added["numbers swapped"]) == (1, 0)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("with sugar", "without sugar", True),
        ("I can't swim", "I can swim", True),
        ("I cannot swim", "I can not swim", False),
        ("I can’t swim", "I can't swim", False),
        ("is it safe to mix them", "is it not safe to mix them", True),
        ("it isn't raining", "it is not raining", False),
        ("I won't pay", "I will not pay", False),
        ("all except birds", "all birds", True),
        ("is it not unsafe, no", "it is unsafe, not so, no", False),
    ],
)
def test_negations(one, other, differ):
    assert bool(evidence(one, other)["negation"]) is differ


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("how do I increase the volume", "how do I decrease the volume"),
        ("turn left at the church", "turn right at the church"),
        ("when to buy shares", "when to sell shares"),
        ("pros of nuclear power", "cons of nuclear power"),
        ("rows of a table", "columns of a table"),
    ],
)
def test_opposites(one, other):
    assert evidence(one, other)["opposites"] >= 1
    assert evidence(one, one)["opposites"] == 0


def test_swapped_roles_show_in_the_order_alone():
    told = evidence("does the cat chase the dog", "does the dog chase the cat")
    assert told["same words"] == 1
    assert told["order"] == told["same words reordered"] > 0
    assert told["spelling sorted"] == 1
    assert evidence("does the cat chase the dog", "so the cat does chase the dog")["order"] == 0
    told = evidence("from Paris to Rome", "from Rome to Paris")
    assert told["same words reordered"] > 0


def test_names():
    told = evidence("What is the capital of France?", "What is the capital of Spain?")
    assert (told["names less"], told["names more"]) == (1, 1)
    told = evidence("Tell me about Newton", "tell me about newton")
    assert (told["names less"], told["names more"]) == (0, 0)
    told = evidence("Who is Ada?", "Who is Ada Lovelace of London?")
    assert (told["names less"], told["names more"]) == (0, 2)
    told = evidence("what did O'Brien write", "what did O'Neil write")
    assert (told["names less"], told["names more"]) == (1, 1)


@pytest.mark.parametrize(
    ("one", "other", "kind", "differs"),
    [
        ("how many moons has Mars", "why has Mars moons", ("how many", "why"), True),
        ("how do I boil an egg", "how to boil an egg", ("method", "method"), False),
        ("how does a fridge work", "how is a fridge built", ("mechanism", "mechanism"), False),
        ("is Mars red", "boil an egg", ("yes or no", "none"), True),
        ("whose book is it", "who has the book", ("who", "who"), False),
    ],
)
def test_question_words(one, other, kind, differs):
    assert (read(one, {}).question, read(other, {}).question) == kind
    assert bool(evidence(one, other)["question differs"]) is differs


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("what is the capital of Peru", "cuál es la capital de Perú para el examen", True),
        ("what is the capital of Peru", "was ist die Hauptstadt von Peru", True),
        ("what is the capital of Peru", "秘鲁的首都是什么", True),
        ("what is the capital of Peru", "какая столица Перу", True),
        ("what is the capital of Peru", "how do I get to the capital", False),
        ("秘鲁的首都是什么", "какая столица Перу", True),
        ("Peru", "capital Peru", False),  # nothing to tell a language by
    ],
)
def test_language(one, other, differs):
    assert bool(evidence(one, other)["language"]) is differs


def test_time_of_what_is_asked():
    assert evidence("who was king before", "who is king")["past"] == 1
    assert evidence("who will be king", "who is king")["future"] == 1


def test_a_typo_weighs_less_than_another_word():
    typo = evidence("how do I boil an egg quickly", "how do I boil an egg quikcly")
    word = evidence("how do I boil an egg quickly", "how do I boil an egg slowly")
    assert typo["unmatched"] < word["unmatched"] / 1.5
    assert typo["worst more"] < word["worst less"]
    assert typo["spelling"] > word["spelling"]
    assert typo["both differ"] == word["both differ"] == 1


def test_politeness_adds_no_content():
    told = evidence("capital of Peru", "hello, could you please tell me the capital of Peru? thx")
    assert (told["same words"], told["overlap"] > 0.9) == (1, True)


def test_rare_words_weigh_more():
    assert read("capital blorbl", RARITY).content == {"capit": 5.0, "blorbl": UNKNOWN_RARITY}
    rare = evidence("capital of blorbl", "capital of zzyxk")
    known = evidence("capital of blorbl", "egg of blorbl")
    assert rare["rarest less"] > known["rarest less"]
    assert rare["overlap"] < known["overlap"]


def test_contractions_units_and_short_forms_are_written_out():
    assert words_of("Can't u convert 1,500 km, pls?") == (
        ["can", "not", "you", "convert", "1500", "kilometre", "please"]
    )


def test_a_long_text_is_read_at_both_ends():
    told = read("first " + "filling " * 50_000 + "last 7", {})
    assert {"first", "last"} <= set(told.stems)
    assert told.numbers == {"7": 1}
    assert len(told.plain) <= READ_CHARS + 1


texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=st.characters(), max_size=20),  # lone surrogates too
    st.lists(
        st.sampled_from(
            "how many don't O'Brien's Paris paris 3 three 1,000.5 ½ ² not buy sell İI ŉ the "
            "café 秘鲁 ' '' n't - & was".split()
        ),
        max_size=12,
    ).map(" ".join),
)
cosines = st.floats(-1.001, 1.001)


@given(one=texts, other=texts, cosine=cosines)
@example(one="", other="", cosine=1.0)
@example(one="'", other="n't", cosine=-1.0)
@example(one="a" * 10_000, other="9" * 10_000, cosine=1.0005)
def test_evidence_is_symmetric_and_never_nan_for_any_text(one, other, cosine):
    rarity = {"mani": 0.0, "pari": 12.5}
    a, b = read(one, rarity), read(other, rarity)
    told = compare(a, b, cosine)
    assert len(told) == len(NAMES)
    assert all(isinstance(value, float) and math.isfinite(value) for value in told)
    assert np.allclose(told, compare(b, a, cosine), rtol=0, atol=1e-9)


@given(text=texts)
def test_reading_is_total_and_repeatable(text):
    told = read(text, {})
    assert told == read(text, {})
    assert told.content.keys() <= set(told.stems)
    assert all(value == UNKNOWN_RARITY for value in told.content.values())
