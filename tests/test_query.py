"""What a query may be, and what a caller hears when it is not."""

import pytest

from routerlab.errors import InvalidQuery, UnknownTier
from routerlab.query import CLASSIFIED_CHARS, MAX_QUERY_CHARS, Conversation
from routerlab.types import as_tier


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        (b"bytes", "decode"),
        (bytearray(b"x"), "decode"),
        (42, "not int"),
        (None, "not NoneType"),
        ("\x00\x01binary", "NUL"),
        ("broken \ud800 text", "surrogate"),
        ("x" * (MAX_QUERY_CHARS + 1), "characters"),
        ([], "last message"),
        ([{"role": "assistant", "content": "hi"}], "last message"),
        ([{"role": "robot", "content": "hi"}], "role 'robot'"),
        ([{"content": "hi"}], "needs a 'role'"),
        (["hi"], "needs a 'role'"),
        ([{"role": "user", "content": 7}], "not text"),
        ([{"role": "user", "content": "  "}], "message 0 is empty"),
    ],
)
def test_bad_queries_are_told_apart(query, says):
    with pytest.raises(InvalidQuery, match=says) as caught:
        Conversation.from_query(query)
    assert isinstance(caught.value, ValueError)


def test_empty_system_prompt_is_refused():
    with pytest.raises(InvalidQuery, match="system prompt is empty"):
        Conversation.from_query("hi", " ")


def test_system_prompt_is_not_judged():
    plain = Conversation.from_query("What is the boiling point of water?")
    prompted = Conversation.from_query("What is the boiling point of water?", "You are a poet.")
    assert prompted.judged_text == plain.judged_text
    assert prompted.system_prompt == "You are a poet."


def test_short_follow_up_is_judged_with_the_turn_before():
    turns = [
        {"role": "user", "content": "Prove that e is irrational."},
        {"role": "assistant", "content": "Suppose…"},
        {"role": "user", "content": "and pi?"},
    ]
    conversation = Conversation.from_query(turns)
    assert "Prove that e is irrational." in conversation.judged_text
    assert conversation.text == "and pi?"
    assert [turn.role for turn in conversation.earlier_turns] == ["user", "assistant"]


def told(*turns: str) -> Conversation:
    """A chat of the user's turns, with an answer between them."""
    chat = [{"role": "user", "content": turns[0]}]
    for turn in turns[1:]:
        chat += [{"role": "assistant", "content": "Well…"}, {"role": "user", "content": turn}]
    return Conversation.from_query(chat)


HARD = "Prove that e is irrational."


@pytest.mark.parametrize(
    "follow_up", ["yes", "and in Python?", "why?", "can you redo that with a picture", "shorter"]
)
def test_a_follow_up_takes_along_what_it_continues(follow_up):
    assert told(HARD, follow_up).judged_text == f"{HARD}\n{follow_up}"


@pytest.mark.parametrize(
    "question",
    ["What is the capital of Peru?", "Write a limerick on tea.", "How do tides work in a bay?"],
)
def test_a_new_question_stands_by_itself(question):
    assert told(HARD, question).judged_text == question


def test_a_chain_of_follow_ups_reaches_back_to_the_question_it_belongs_to():
    chain = told(HARD, "What is the capital of Peru?", "and of Chile?", "thanks, and of Cuba?")
    assert chain.judged_text.splitlines() == [
        "What is the capital of Peru?",
        "and of Chile?",
        "thanks, and of Cuba?",
    ]


def test_a_role_at_the_head_of_the_chain_is_left_out():
    chain = told("You are an expert in law. What does VAT stand for?", "and GST?")
    assert chain.judged_text == "What does VAT stand for?\nand GST?"


def test_long_query_is_read_in_part_and_says_so():
    conversation = Conversation.from_query("why " * 50_000)
    (note,) = conversation.notes
    assert "200,000 characters" in note
    assert f"{CLASSIFIED_CHARS:,}" in note


def test_unknown_tier_names_the_tiers():
    with pytest.raises(UnknownTier, match="simple, medium, complex, reasoning"):
        as_tier("hard")
