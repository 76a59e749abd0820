"""Sentences of English drawn at random: grammatical, seldom sensible, and as different as the language's sounds.

``Grammar(generator).sentence()`` draws one. Statements and questions with clauses, phrases and adverbs; numbers, dates,
prices and times of day; names, real and invented; lists of words, and what people say in a word or two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from melle.corpora.english import names
from melle.corpora.english.inflection import plural, progressive, third_person, with_article
from melle.corpora.english.lexicon import Verb, verbs, words

T = TypeVar("T")

_OWNERS = ("my", "your", "his", "her", "our", "their")
_NUMERALS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty")
_MODALS = ("can", "could", "must", "should", "might", "would", "will", "may")
_DEGREES = ("very", "too", "rather", "quite", "so", "extremely", "not very", "surprisingly", "a little")
_OF_NUMBERS = ("pounds", "dollars", "euros", "miles", "metres", "minutes", "hours", "days", "weeks", "years", "pages")


class Subject(NamedTuple):
    text: str
    plural: bool  # takes the verb's plural form


_PRONOUNS = (
    *(Subject(word, True) for word in ("I", "you", "we", "they")),
    *(Subject(word, False) for word in ("he", "she", "it", "somebody", "nobody", "everybody", "everything")),
)


class Grammar:
    """Draws sentences; the same ones from a generator in the same state."""

    def __init__(self, generator: np.random.Generator):
        self.random = generator
        kinds: dict[Callable[[], str], int] = {
            self._statement: 26,
            self._two_clauses: 11,
            self._question: 11,
            self._description: 10,
            self._order: 7,
            self._report: 6,
            self._with_numbers: 11,
            self._with_names: 10,
            self._list: 5,
            self._short: 3,
        }
        self._kinds = list(kinds)
        self._shares = np.array(list(kinds.values()), dtype=float) / sum(kinds.values())

    def sentence(self) -> str:
        """One sentence, of a word to thirty."""
        text = self._kinds[self.random.choice(len(self._kinds), p=self._shares)]()
        return text[0].upper() + text[1:]

    # Sentences.

    def _statement(self) -> str:
        text = self._clause()
        if self._maybe(0.2):
            text = f"{self._word('openings')}, {text}"
        return text + self._one((".", ".", ".", ".", "!"))

    def _two_clauses(self) -> str:
        first, second = self._clause(short=True), self._clause(short=True)
        kind = self.random.integers(3)
        if kind == 0:
            return f"{first}, {self._one(('and', 'but', 'so', 'or', 'yet'))} {second}."
        if kind == 1:
            return f"{first} {self._word('joins')} {second}."
        return f"{self._word('joins')} {first}, {second}."

    def _question(self) -> str:
        subject = self._subject(short=True)
        verb, rest = self._action()
        kind = self.random.integers(7)
        if kind == 0:
            return f"{self._form(subject, 'do', 'does', 'did')} {subject.text} {verb.base}{rest}?"
        if kind == 1:
            return f"{self._one(_MODALS)} {subject.text} {verb.base}{rest}?"
        if kind == 2:
            return f"{self._form(subject, 'have', 'has', 'had')} {subject.text} ever {verb.participle}{rest}?"
        if kind == 3:
            return f"who {verb.past}{rest}?"
        do = f"{self._form(subject, 'do', 'does', 'did')} {subject.text}"
        if kind == 4:
            return f"{self._one(('why', 'when', 'where', 'how', 'how often'))} {do} {verb.base}{rest}?"
        asked = self._transitive().base
        if kind == 5:
            return f"how many {plural(self._noun())} {do} {asked}?"
        return f"{self._one(('which', 'what kind of', 'whose'))} {self._noun()} {do} {asked}?"

    def _description(self) -> str:
        kind = self.random.integers(5)
        if kind == 0:
            there = self._one((("there is", False), ("there was", False), ("there are", True), ("there were", True)))
            return f"{there[0]} {self._some(there[1])}{self._where()}."
        subject = self._subject()
        be = self._form(subject, "are", "is", "were" if subject.plural else "was")
        if subject.text == "I":
            be = "was" if be == "were" else "am"
        quality = self._word("adjectives")
        if kind == 1:
            return f"{subject.text} {be} as {quality} as {self._object()}."
        if kind == 2:
            return f"{subject.text} {be} {self._one(('more', 'less', 'far more'))} {quality} than {self._object()}."
        if kind == 3:
            return f"{subject.text} {be} {quality} and {self._word('adjectives')}{self._where()}."
        return f"{subject.text} {be} {self._one(_DEGREES)} {quality}."

    def _order(self) -> str:
        verb, rest = self._action()
        opening = self._one(("", "", "please ", "don't ", "never ", "let's ", "always "))
        return f"{opening}{verb.base}{rest}{self._one(('.', '.', '!'))}"

    def _report(self) -> str:
        subject, verb = self._subject(short=True), self._one(verbs("verbs_of_saying"))
        said = self._form(subject, verb.base, third_person(verb.base), verb.past)
        return f"{subject.text} {said} that {self._clause(short=True)}."

    def _with_numbers(self) -> str:
        small, large, year = self._number(2, 60), self._number(60, 10_000), self._number(1400, 2060)
        unit, thing = self._one(_OF_NUMBERS), self._some(many=False)
        day, month = self._word("days"), self._word("months")
        return self._one(
            (
                f"{thing} costs {small} pounds and {self._number(5, 99)} pence.",
                f"{self._clause(short=True)} in {year}.",
                f"on the {self._ordinal()} of {month}, {self._clause(short=True)}.",
                f"it is {small} past {self._one(_NUMERALS)}.",
                f"it was a quarter to {self._one(_NUMERALS)} on {day} morning.",
                f"see you on {day} at {self._one(_NUMERALS)} o'clock.",
                f"the number is {', '.join(str(digit) for digit in self.random.integers(0, 10, size=6))}.",
                f"{thing} weighs {small} {self._one(('pounds', 'kilograms', 'tons', 'ounces'))}.",
                f"{self._number(2, 20)} times {self._number(2, 20)} is {large}.",
                f"it takes {small} {unit} to {self._transitive().base} {thing}.",
                f"page {large}, chapter {small}.",
                f"the temperature was minus {small} degrees.",
                f"about {small} percent of {plural(self._noun())} are {self._word('adjectives')}.",
                f"there were {large} {plural(self._noun())}{self._where()}.",
                f"after {small} {unit}, {self._clause(short=True)}.",
                f"room {large} is on floor {small}.",
                f"she was born on {month} the {self._ordinal()}, {year}.",
                f"{self._one(_NUMERALS)} {plural(self._noun())} and {small} {plural(self._noun())}.",
            )
        )

    def _with_names(self) -> str:
        person, other = names.full_name(self.random), names.first_name(self.random)
        place, another = names.place_name(self.random), names.place_name(self.random)
        language, people = self._word("languages"), self._word("people")
        return self._one(
            (
                f"my name is {person}.",
                f"this is {person} from {place}.",
                f"{person} lives in {place}.",
                f"{other} and {names.first_name(self.random)} went to {place}.",
                f"from {place} to {another} it is {self._number(20, 900)} miles.",
                f"{person} is {with_article(people)} from {place}.",
                f"good morning, {person}.",
                f"have you met {person}, the {people}?",
                f"{other} speaks {language} and a little {self._word('languages')}.",
                f"the next stop is {names.surname(self.random)} {self._word('places')}.",
                f"{person} {self._one(verbs('verbs_alone')).past}{self._where()}.",
                f"{other}, {self._order()[:-1]}.",
                f"we visited {place}, {another} and {names.place_name(self.random)}.",
                f"{other}'s {self._noun()} {self._one(verbs('verbs_alone')).past}.",
                f"the {people} of {place} was called {person}.",
                f"{person} {self._one(verbs('verbs_with_object')).past} {self._object()}.",
            )
        )

    def _list(self) -> str:
        sections = ("things", "foods", "animals", "people", "places", "body", "materials", "adjectives", "adverbs")
        section = self._one((*sections, "abstract", "units", "months", "days", "small_phrases"))
        count = int(self.random.integers(1, 6))
        members = [self._word(section) for _ in range(count)]
        if count > 1 and self._maybe(0.6):
            members[-2:] = [f"{members[-2]} {self._one(('and', 'or'))} {members[-1]}"]
        return ", ".join(members) + "."

    def _short(self) -> str:
        phrase = self._word("small_phrases")
        ending = "?" if phrase.startswith(("how", "what's")) else self._one((".", "!"))
        return phrase + (f", {names.first_name(self.random)}" if self._maybe(0.3) else "") + ending

    # Their parts. Those that may be missing begin with a blank.

    def _clause(self, short: bool = False) -> str:
        subject = self._subject(short)
        verb, rest = self._action()
        adverb = f"{self._word('adverbs')} " if self._maybe(0.12) else ""
        return f"{subject.text} {adverb}{self._tense(subject, verb)}{rest}"

    def _tense(self, subject: Subject, verb: Verb) -> str:
        kind = self.random.random()
        if kind < 0.42:
            return verb.past
        if kind < 0.60:
            return verb.base if subject.plural else third_person(verb.base)
        if kind < 0.72:
            return f"{self._one(_MODALS)} {verb.base}"
        if kind < 0.78:
            return f"{self._form(subject, 'have', 'has', 'had')} {verb.participle}"
        if kind < 0.86:
            be = "was" if subject.text == "I" or not subject.plural else "were"
            return f"{be} {progressive(verb.base)}"
        if kind < 0.93:
            return f"{self._form(subject, 'do', 'does', 'did')} not {verb.base}"
        return f"{self._one(('wanted to', 'tried to', 'used to', 'had to', 'refused to'))} {verb.base}"

    def _action(self) -> tuple[Verb, str]:
        """A verb and what follows it."""
        kind = self.random.random()
        if kind < 0.55:
            verb, rest = self._transitive(), f" {self._object()}"
        elif kind < 0.67:
            verb, rest = self._one(verbs("verbs_with_food")), f" {self._food()}"
        else:
            verb, rest = self._one(verbs("verbs_alone")), ""
        if self._maybe(0.45):
            rest += self._where()
        if self._maybe(0.15):
            rest += f" {self._word('adverbs')}"
        return verb, rest

    def _transitive(self) -> Verb:
        return self._one(verbs("verbs_with_object"))

    def _subject(self, short: bool = False) -> Subject:
        kind = self.random.random()
        if kind < 0.35:
            return self._one(_PRONOUNS)
        if kind < 0.45:
            return Subject(names.first_name(self.random), False)
        if kind < 0.55:
            return Subject(f"the {plural(self._living())}", True)
        if kind < 0.62:
            return Subject(f"{self._one(_NUMERALS)} {plural(self._living())}", True)
        noun = self._living() if self._maybe(0.7) else self._noun()
        text = f"{self._one(('the', 'the', 'the', 'a', *_OWNERS))} {self._described(noun)}"
        if text.startswith("a "):
            text = with_article(text[2:])
        if not short and self._maybe(0.2):
            text += f" {self._one(('with', 'of', 'from', 'without'))} {self._object()}"
        return Subject(text, False)

    def _object(self) -> str:
        kind = self.random.random()
        if kind < 0.08:
            return self._one(("me", "you", "him", "her", "it", "us", "them", "everything", "nothing", "something"))
        if kind < 0.28:
            return self._some(many=True)
        return self._some(many=False)

    def _some(self, many: bool) -> str:
        noun = self._described(self._noun())
        if many:
            return f"{self._one(('the', 'some', 'many', 'all', 'no', 'these', *_NUMERALS, *_OWNERS))} {plural(noun)}"
        first = self._one(("the", "the", "the", "a", "a", "a", "this", "that", "every", "another", *_OWNERS))
        return with_article(noun) if first == "a" else f"{first} {noun}"

    def _food(self) -> str:
        noun = self._described(self._word("foods"))
        return f"{self._one(('the', 'some', 'our', 'too much', 'a piece of', 'a plate of', 'his', 'no'))} {noun}"

    def _where(self) -> str:
        position = self._one((*words("positions"), "to", "from", "at", "for", "with", "without", "about"))
        noun = self._described(self._word("places") if self._maybe(0.6) else self._noun())
        return f" {position} {self._one(('the', 'the', 'a', *_OWNERS))} {noun}".replace(
            f" a {noun}", f" {with_article(noun)}"
        )

    def _described(self, noun: str) -> str:
        return f"{self._word('adjectives')} {noun}" if self._maybe(0.3) else noun

    def _living(self) -> str:
        return self._word("people") if self._maybe(0.65) else self._word("animals")

    def _noun(self) -> str:
        kind = self.random.random()
        if kind < 0.45:
            return self._word("things")
        if kind < 0.6:
            return self._word("abstract")
        if kind < 0.65:
            return f"{self._word('materials')} {self._word('things')}"
        if kind < 0.72:
            return self._word("body")
        if kind < 0.82:
            return self._word("places")
        return self._living()

    def _ordinal(self) -> str:
        day = int(self.random.integers(1, 32))
        ending = "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        return f"{day}{ending}"

    def _number(self, least: int, most: int) -> int:
        """One of any size between the two."""
        return int(np.exp(self.random.uniform(np.log(least), np.log(most))))

    def _form(self, subject: Subject, plural_form: str, singular: str, past: str) -> str:
        if self._maybe(0.5):
            return past
        return plural_form if subject.plural else singular

    def _word(self, section: str) -> str:
        return self._one(words(section))

    def _one(self, choices: Sequence[T]) -> T:
        return choices[self.random.integers(len(choices))]

    def _maybe(self, probability: float) -> bool:
        return bool(self.random.random() < probability)
