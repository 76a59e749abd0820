"""E-mail addresses, addresses of web pages, hashtags and names with @."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.english.acronyms import spell
from melle.text.verbalise.rules import Rule

SIGNS = {
    **{".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", ":": "colon", "?": "question mark"},
    **{
        "=": "equals",
        "&": "and",
        "#": "hash",
        "+": "plus",
        "%": "percent",
        "~": "tilde",
        ",": "comma",
        ";": "semicolon",
    },
    **{"!": "exclamation mark", "*": "star", "$": "dollar", "'": "apostrophe"},
}
ENDINGS = "com|org|net|edu|gov|info|io|ai|eu|uk|us|de|fr|it|es|ch|tv|me|dev|app|co|ca|au|in|nl|be|int"
_HOST = rf"(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)+(?:{ENDINGS})(?![\w-])(?!\.\w)"
_PATH = r"(?:[/?#][^\s\"'<>()\[\]]*[\w/])?/?"


def read_address(match: Match[str]) -> str:
    """john.doe@example.org is "john dot doe at example dot org", www.bbc.co.uk "W-W-W dot B-B-C dot co dot U-K"."""
    address = re.sub(r"^(?:https?|ftp)://", "", match[0], flags=re.I).rstrip("/")
    parts = re.findall(r"[^\W\d_]+|\d+|\W|_", address)
    host = len(re.match(r"[^/?#]*", address)[0])
    words, place = [], 0
    for part in parts:
        place += len(part)
        words.append(SIGNS.get(part) or _name(part, ending=place == host))
    return " ".join(words)


def read_hashtag(match: Match[str]) -> str:
    """#5 is "number 5", of which the number is read later; #blessed is "hashtag blessed"."""
    return f"number {match[1]}" if match[1].isdecimal() else f"hashtag {match[1]}"


def _name(part: str, ending: bool) -> str:
    country = ending and len(part) == 2
    if part.isalpha() and len(part) > 1 and (country or part == "edu" or not set(part.lower()) & set("aeiouy")):
        return spell(part.upper())
    return part


ADDRESSES = (
    Rule(r"(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}(?![\w-])", read_address, re.I),
    Rule(r"\b(?:https?|ftp)://[^\s\"'<>()\[\]]*[\w/]", read_address, re.I),
    Rule(rf"(?<![\w@.-])(?:www\.[^\s\"'<>()\[\]]*[\w/]|{_HOST}{_PATH})", read_address, re.I),
    Rule(r"(?<![\w#&])#(\w+)", read_hashtag),
    Rule(r"\b([CF])#(?!\w)", r"\1 sharp"),
)
FILES = (
    Rule(r"(?<![\w.])\.NET\b", "dot net"),
    Rule(
        r"(?<=\w)\.(js|py|cpp|exe|pdf|txt|csv|json|html|css|zip|jpe?g|png|mp3|mp4|wav|docx?|xlsx?|yaml|md|sh)(?!\w)",
        lambda match: f" dot {_name(match[1], ending=len(match[1]) == 2)}",
    ),
)
