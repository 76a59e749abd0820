"""Words in capitals: BBC is spelled, NASA and a shouted STOP are words."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.rules import word_set

SPOKEN = word_set("NASA NATO AIDS LASER RADAR SONAR GIF RAM ROM PIN SIM ZIP GUI LAN WAN SAT ESA CERN SWAT FIFA OPEC")
SPELLED = word_set(
    "US UK EU UN UAE USA CIA FBI AI IT ID IQ LA AC UV IOC IRA ISO IEEE UCLA NAACP ASAP ISBN ESPN HIV AM PM OS IP AD "
    "BC AA AAA CEO CFO CTO COO NBA IBM API URL USB GPU CPU USD USSR ATM ETA FAQ DIY EPA FDA IMF IPO IRS MIA MBA UFO "
    "VIP VAT AOL MIT OECD NYU UPS PA HBO DOJ DOE DJIA NYSE UTC EST EDT CST CDT PST PDT GMT OCR ASR BCE HDMI "
    "USC LOL OMG FYI TBA TBD IMO IMHO AKA DOB POV EOD IOU DUI"
)
AMBIGUOUS = word_set("US IT AM AD ID LA PA UPS MIA MIT DOE")  # spelled, but words too: among shouted words, words
SHOUTED = word_set(
    "A I AN AS AT BE BY DO GO HA HE HI IF IN IS ME MY NO OF OH ON OR SO TO UP WE YE AH OX ALL AND ANY ARE ARM ART "
    "ASK BAD BAG BAR BED BIG BOX BOY BUS BUT BUY CAN CAR CAT CUT DAD DAY DEN DID DIE DIG DOG DRY EAR EAT EGG END EYE "
    "FAR FAT FEW FIT FLY FOR FUN GET GOD GOT GUN GUY HAD HAS HAT HER HEY HIM HIS HIT HOT HOW ICE ILL ITS JOB JOY KEY "
    "KID LAW LAY LED LEG LET LIE LOT LOW MAD MAN MAP MAY MEN MET MOM MUM NET NEW NOR NOT NOW ODD OFF OIL OLD ONE OUR "
    "OUT OWN PAY PEN PET PUT RAN RED RID RUN SAD SAW SAY SEA SEE SET SHE SHY SIR SIT SIX SKY SON SUN TAX TEA TEN THE "
    "TIE TOO TOP TOY TRY TWO USE VAN WAR WAS WAY WET WHO WHY WIN WON YES YET YOU ZOO "
    "WOW FIX MAX MIX AXE YEP AWW UGH EEK HUH BYE AGO AIR AGE AID ACT ADD AIM BET BIT BOW BUN COW CRY CUP "
    "DOT DUE FED FIG FOG FOX GAP GAS HEN HID HUG INN INK JAM JAR JET JUG LIP LID LOG MUD NAP NUT OAK OWE OWL PIE "
    "PIG PIT POT RAT RAW RIB ROB ROD ROW RUB RUG SIN TAP TIN TIP TOE TON VET VOW WEB WIG"
)
AFTER_THE = word_set("WHO")  # words, and after "the" names that are spelled
SOUNDS = word_set("HM HMM MM SH SHH PSST BRR GRR TSK PFFT NTH MR MRS MS DR ST JR SR")  # without a vowel, not spelled
_CAPITALS = re.compile(r"(?<![\w-])([A-Z]{2,})('?s)?(?![\w'])(?!-[A-Z]\b)")
_WORD = re.compile(r"[\w'-]+")


def read_acronyms(text: str) -> str:
    """BBC is "B-B-C", DVDs "D-V-D's". In a text that is all in capitals only what has no vowel or is
    known to be no word is spelled."""
    if text.isupper():
        return _CAPITALS.sub(lambda match: spell(match[1]) if _is_no_word(match[1]) else match[0], text)
    return _CAPITALS.sub(_read, text)


def is_spelled(letters: str) -> bool:
    """Whether capitals among small letters are read one by one."""
    if letters in SPELLED or _has_no_vowel(letters):
        return True
    return len(letters) < 4 and letters not in SPOKEN and letters not in SHOUTED and letters not in SOUNDS


def spell(letters: str) -> str:
    """Letter by letter, as one word: what is read aloud of a lone A would be the article."""
    return "-".join(letters)


def _read(match: Match[str]) -> str:
    letters, ending = match[1], match[2] or ""
    if letters == "OK":
        return f"okay{ending}"
    if letters in AFTER_THE and re.search(r"\b[Tt]he $", match.string[max(0, match.start() - 5) : match.start()]):
        return spell(letters) + ending
    shouted = not _is_no_word(letters) and (_among_shouts(match) or (letters in AMBIGUOUS and _after_shout(match)))
    if shouted or not is_spelled(letters):
        return match[0]
    return spell(letters) + ("'s" if ending else "")


def _among_shouts(match: Match[str]) -> bool:
    """Whether capitals stand on both sides, or twice on one: STOP THE CAB."""
    start, end = match.span()
    before, after = (
        _WORD.findall(part) for part in (match.string[max(0, start - 80) : start], match.string[end : end + 80])
    )
    sides = (before[-1:] + after[:1], before[-2:], after[:2])
    return any(len(side) == 2 and all(_is_shout(word) for word in side) for side in sides)


def _is_shout(word: str) -> bool:
    """In capitals, and not what was spelled before, such as P-M."""
    return word.isupper() and not re.fullmatch(r"\w(?:-\w)+", word)


def _after_shout(match: Match[str]) -> bool:
    """Whether a word in capitals stands before, which may be I: I AM, DO IT."""
    before = re.search(r"([A-Z]+) $", match.string[max(0, match.start() - 12) : match.start()])
    return before is not None and before[1] != "A" and before[1] in SHOUTED


def _is_no_word(letters: str) -> bool:
    return _has_no_vowel(letters) or (letters in SPELLED and letters not in AMBIGUOUS)


def _has_no_vowel(letters: str) -> bool:
    return letters not in SOUNDS and not set(letters) & set("AEIOUY")
