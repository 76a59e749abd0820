"""Text normalisation proper: what is written in figures, signs and abbreviations, in the words that are read aloud.

"Dr. Smith paid $3.50" becomes "Doctor Smith paid three dollars and fifty cents". The readings of a language have a
name with a number, such as "en-1", which the tokenizer keeps: a model goes on reading what it was trained to read.

The number goes up where plain words, or figures that corpora hold as they are spoken there ("Room 252", "in 1984"),
would be read otherwise. What a reading left wrong or unread, such as 3" or m/s², is corrected under the same number: a
model reads the right words as well as any others, and there is no speech that it learned the wrong ones from.
"""

from __future__ import annotations

from collections.abc import Callable

from melle.errors import UserError
from melle.text.cache import remembered
from melle.text.languages import language_code
from melle.text.normalise import normalise
from melle.text.verbalise import english
from melle.text.verbalise.european import verbalise_numbers
from melle.text.verbalise.french import FRENCH
from melle.text.verbalise.german import GERMAN
from melle.text.verbalise.italian import ITALIAN
from melle.text.verbalise.spanish import SPANISH

_READERS: dict[str, Callable[[str], str]] = {  # of each language the newest last
    "en-1": english.verbalise,
    "de-1": lambda text: verbalise_numbers(text, GERMAN),
    "fr-1": lambda text: verbalise_numbers(text, FRENCH),
    "es-1": lambda text: verbalise_numbers(text, SPANISH),
    "it-1": lambda text: verbalise_numbers(text, ITALIAN),
}


def find_normaliser(language: str | None) -> str | None:
    """The name of the newest readings of a language (a code such as "en-us" or "deu"); None where there are none."""
    if language is None:
        return None
    names = [name for name in _READERS if name.split("-")[0] == language_code(language)]
    return names[-1] if names else None


def require_normaliser(language: str | None) -> str:
    """As ``find_normaliser``. Raises UserError where there are none."""
    name = find_normaliser(language)
    if name is None:
        known = ", ".join(sorted({name.split("-")[0] for name in _READERS}))
        raise UserError(f"no text normalisation for the language {language}; there is {known}; or turn it off")
    return name


def check_normaliser(name: str | None) -> None:
    """Raises UserError for a name that this version does not know."""
    if name is not None and name not in _READERS:
        raise UserError(f"the model's text normalisation {name!r} is of a newer version; update this package")


@remembered
def verbalise(text: str, normaliser: str | None) -> str:
    """``normalise``, and then in words by the readings of that name; None leaves figures as they are."""
    plain = normalise(text)
    return plain if normaliser is None else " ".join(_READERS[normaliser](plain).split())
