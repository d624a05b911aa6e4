"""What is read from a text, once, before it is compared with others: stems, numbers, names, kind.

English in the main: word lists, stems and the question word; other languages are told apart by
script and common words. Does not know: vectors, how two readings are compared (`evidence`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

READ_CHARS = 4_000
"""Longer texts are read at their beginning and their end."""
UNKNOWN_RARITY = 9.0
"""Rarity of a stem that the table does not hold: ln(8,000), rarer than most."""

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[+\-*/=<>%$€£#&@^]")
_NAME = re.compile(r"\b[A-Z]\w*")
_QUESTION = re.compile(
    r"\b(how (?:many|much|long|often|old|far|do|to|can|should|does|is|are)|"
    r"what|which|who|whom|whose|when|where|why|how)\b"
)
_OTHER_SCRIPT = re.compile(r"[\u0370-\u06ff\u0900-\u0dff\u3040-\u9fff\uac00-\ud7af]")
_TIME_SENSITIVE = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|right now|currently|latest|this (?:week|month|year)|"
    r"breaking news|weather forecast)\b",
    re.IGNORECASE,
)
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
).split()
_TENS = "thirty forty fifty sixty seventy eighty ninety".split()
_NUMBER_WORDS = (
    {word: str(value) for value, word in enumerate(_ONES) if value > 1}  # "one": a pronoun too
    | {word: str(10 * value) for value, word in enumerate(_TENS, 3)}
    | {"hundred": "100", "thousand": "1000", "dozen": "12", "twice": "2", "double": "2"}
)
_WRITTEN_OUT = {
    "won't": "will not",
    "can't": "can not",
    "cannot": "can not",
    "dont": "do not",
    "doesnt": "does not",
    "isnt": "is not",
    "cant": "can not",
    "whats": "what is",
    "u": "you",
    "ur": "your",
    "pls": "please",
    "plz": "please",
    "thx": "thanks",
    "km": "kilometre",
    "kg": "kilogram",
    "cm": "centimetre",
    "hr": "hour",
    "hrs": "hour",
    "mins": "minute",
    "lbs": "pound",
    "usa": "america",
    "uk": "britain",
}
_NEGATIONS = frozenset(
    "not no never none without nor neither nobody nothing nowhere avoid except unless exclud "
    "excluding stop prevent instead lack hardly rarely rather disable".split()
)
# Words that a rewording adds or drops without asking for anything else.
_FILLERS = frozenset(
    "a an the of to in on at for with and or is are was were be been being am it its this that "
    "these those there here i me my mine we our us you your he she they them his their her do does "
    "did can could would should will shall may might must have has had please thanks thank hey hi "
    "hello so just give tell say what which who whom whose how why when where from by as if into "
    "than then about get got any some quick question wondering wonder want need like know help "
    "anyone someone explain".split()
)
_YES_NO = frozenset("is are was were do does did can could should would will has have am".split())
_PAST = frozenset("was were did had been used ago before previously earlier last".split())
_FUTURE = frozenset("will going shall future next upcoming soon later after until".split())
_COMMON = {
    "es": "el la los las que cómo qué para por una un es en de mi cuál cuáles con del se",
    "de": "der die das wie was ist und ich ein eine für nicht mit von zu den kann",
    "fr": "le la les des que comment pour est une un dans quel quelle je mon et du",
    "pt": "o os as que como para por uma um é em do da meu qual não com",
    "it": "il lo gli che come per una un è di del della mio quale non con",
    "pl": "jak się w na czy jest nie i z do co dla",
    "tr": "bir ve nasıl ne için mi nedir ile bu en",
    "en": "the of to is what how a an in and for my i do can are",
}
_LANGUAGES_OF = {
    word: tuple(name for name, words in _COMMON.items() if word in words.split())
    for words in _COMMON.values()
    for word in words.split()
}
_stem_word = snowballstemmer.stemmer("english").stemWord


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as the comparison sees it.

    `typed`: as it was typed, but for case, spacing and an end mark. `plain`: its words, written
    out. `stems`: in order. `content`: rarity by stem, of the words that
    carry content. `question`: the kind of question word, `none` for a statement. `past`, `future`:
    whether words speak of that time.
    """

    typed: str
    plain: str
    stems: tuple[str, ...]
    content: Mapping[str, float]
    numbers: Counter[str]
    names: frozenset[str]
    negations: int
    question: str
    language: str
    past: bool
    future: bool


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Snowball's English stem of a lower-case word; a number stays as it is."""
    return str(_stem_word(word)) if word.isalpha() else word


def words_of(text: str) -> list[str]:
    """Lower-case words, numbers and signs; contractions, number words and units written out."""
    found: list[str] = []
    for token in _TOKEN.findall(text.lower().replace("’", "'")):
        if token[0].isdigit():
            found.append(token.replace(",", ""))
        elif token in _WRITTEN_OUT:
            found.extend(_WRITTEN_OUT[token].split())
        elif token.endswith("n't"):
            found.extend(token.replace("n't", " not").split())
        else:
            found.append(_NUMBER_WORDS.get(token, token.removesuffix("'s")))
    return found


def read(text: str, rarity: Mapping[str, float]) -> Reading:
    """Read a text; `rarity` gives the inverse document frequency of stems."""
    typed = " ".join(text.lower().split()).rstrip("?. ")
    if len(text) > READ_CHARS:
        text = f"{text[: READ_CHARS // 2]} {text[-READ_CHARS // 2 :]}"
    words = words_of(text)
    stems = tuple([stem(word) for word in words])
    content = {
        s: rarity.get(s, UNKNOWN_RARITY)
        for word, s in zip(words, stems, strict=True)
        if word.isalnum() and not word[0].isdigit()
        if word not in _FILLERS and word not in _NEGATIONS
    }
    return Reading(
        typed=typed,
        plain=" ".join(words),
        stems=stems,
        content=content,
        numbers=Counter(word for word in words if word[0].isdigit()),
        names=_names(text),
        negations=sum(
            w in _NEGATIONS or s in _NEGATIONS for w, s in zip(words, stems, strict=True)
        ),
        question=_question(text, words),
        language=_language(text, words),
        past=any(word in _PAST or (len(word) > 4 and word.endswith("ed")) for word in words),
        future=any(word in _FUTURE for word in words),
    )


def is_time_sensitive(text: str) -> bool:
    """Whether the right answer depends on when the question is asked."""
    return _TIME_SENSITIVE.search(text) is not None


def _names(text: str) -> frozenset[str]:
    """Stems of capitalised words, the first word of the text left out."""
    found = [m.group().lower() for m in _NAME.finditer(text) if text[: m.start()].strip()]
    return frozenset(stem(word) for word in found if word != "i" and word not in _FILLERS)


def _question(text: str, words: list[str]) -> str:
    found = _QUESTION.search(text.lower())
    if found is None:
        return "yes or no" if words and words[0] in _YES_NO else "none"
    word = found.group(1)
    if word in ("how do", "how to", "how can", "how should"):
        return "method"
    if word in ("how does", "how is", "how are"):
        return "mechanism"
    return "who" if word in ("whom", "whose") else word


def _language(text: str, words: list[str]) -> str:
    if script := _OTHER_SCRIPT.search(text):
        return f"script {ord(script.group()) >> 8:x}"
    votes = Counter(name for word in words for name in _LANGUAGES_OF.get(word, ()))
    return max(votes, key=lambda name: votes[name]) if votes else ""
