"""Sentences of newspapers, chats and manuals are read in English as people read them aloud, and nothing is lost."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melle.text.verbalise import verbalise

READINGS = {
    # measures
    "a 3 × 4 m room": "a three by four meter room",
    "the 4x100m relay": "the four by one hundred meter relay",
    "draws 15 A, a 15 A fuse": "draws fifteen amps, a fifteen amp fuse",
    "Gate 12 A is open": "Gate twelve A is open",
    "at 1 atm": "at one atmosphere",
    "1,5 kg": "one point five kilograms",
    "the 5 W's": "the five W's",
    "It is 5 ft 10 in tall.": "It is five feet ten inches tall.",
    "a pipe of 12 in. across": "a pipe of twelve inches across",
    'a 3" pipe': "a three inch pipe",
    "He is 6'2\".": "He is six feet two inches.",
    'He said "it is 12" and left.': 'He said "it is twelve" and left.',
    "There were 12 in the box.": "There were twelve in the box.",
    "He's 6ft 2in and weighs 13st.": "He's six feet two inches and weighs thirteen stone.",
    "The 6'5\", 240-lb. forward scored.": "The six feet five inches, two hundred and forty-pound forward scored.",
    "The beam is 2 in. x 4 in. x 8 ft.": "The beam is two inches by four inches by eight feet.",
    "at 9.8 m/s²": "at nine point eight meters per second squared",
    "people per km²": "people per square kilometer",
    "A 3.5 mm jack": "A three point five millimeter jack",
    "a 10-lb bag": "a ten-pound bag",
    "½ km and 3/4 in. thick": "half a kilometer and three quarters of an inch thick",
    "¼ tsp": "one quarter of a teaspoon",
    "1h 30m": "one hour thirty minutes",
    "100 kΩ, 5 mV, 20 µg, 12 fl oz": "one hundred kilohms, five millivolts, twenty micrograms, twelve fluid ounces",
    "It draws 5 V at 2.4 A (12 W).": "It draws five volts at two point four amps (twelve watts).",
    "10 Gbps and 100 Mbit/s": "ten gigabits per second and one hundred megabits per second",
    "Water boils at 100 °C / 212 °F.": "Water boils at one hundred degrees Celsius, two hundred and twelve degrees "
    "Fahrenheit.",
    "40°26'46\"N": "forty degrees twenty-six minutes forty-six seconds north",
    # dates and times
    "WWI and WWII": "World War one and World War two",
    "in the 19th c. They met.": "in the nineteenth century. They met.",
    "a 6-yr-old": "a six-year-old",
    "9:30ish": "nine thirty-ish",
    "Sat 10-4 and Sun 11-3": "Saturday ten to four and Sunday eleven to three",
    "at 00:30, at 17:00": "at zero thirty, at seventeen hundred",
    "24/7/365": "twenty-four seven three sixty-five",
    "on 2020/01/05": "on January fifth, twenty twenty",
    "on 12/25": "on December twenty-fifth",
    "the attacks of 9/11": "the attacks of nine eleven",
    "the 2019/20 season": "the twenty nineteen twenty season",
    "Mon. to Fri.": "Monday to Friday.",
    "open Mon.-Fri. 9-5": "open Monday to Friday nine to five",
    "Sat. & Sun. 10-4": "Saturday and Sunday ten to four",
    "Sun., Dec. 3, at noon": "Sunday, December third, at noon",
    "Jan–Mar 2020": "January to March twenty twenty",
    "The WHO said on Mon. that it's over.": "The W-H-O said on Monday that it's over.",
    "in Oct. He left.": "in October. He left.",
    "12:00 p.m.": "twelve P-M.",
    "5:30 p.m. EST": "five thirty P-M E-S-T",
    "between 5pm and 7pm ET": "between five P-M and seven P-M E-T",
    "noon-1pm": "noon to one P-M",
    "Class of '99": "Class of ninety-nine",
    "90s kids": "nineties kids",
    # money
    "a $20-a-day habit": "a twenty dollar a day habit",
    "from £10 – £20 a night": "from ten pounds to twenty pounds a night",
    "a $5m house": "a five million dollar house",
    "£3.5-million deal": "three point five million pound deal",
    "a $5 bill": "a five dollar bill",
    "The £ fell and the $ rose.": "The pound fell and the dollar rose.",
    "€5.50/kg, $10/mo": "five euros and fifty cents per kilogram, ten dollars per month",
    "GBP 50, R$ 50, HK$ 30": "fifty pounds, fifty reais, thirty Hong Kong dollars",
    "CHF 20, 100 ₽, ฿100": "twenty Swiss francs, one hundred rubles, one hundred baht",
    "€1.000,50": "one thousand euros and fifty cents",
    "Oil settled at $82.45/bbl.": "Oil settled at eighty-two dollars and forty-five cents per barrel.",
    # names and numbers
    "AT&T and Maj.-Gen. Scott": "A-T-and-T and Major-General Scott",
    "moved to Thu 3/14": "moved to Thursday March fourteenth",
    "Eq. (3), pp. 45-7": "Equation (three), pages forty-five to seven",
    "07700 900123, PIN 1234": "zero seven seven zero zero, nine zero zero one two three, PIN one two three four",
    # shares, ranges and counts
    "50% < 60%": "fifty percent is less than sixty percent",
    "5k people": "five thousand people",
    "3M, Ford and GE; GE and 3M.": "three M, Ford and G-E; G-E and three M.",
    "The lots of 5M, Bob": "The lots of five million, Bob",
    "3M is a firm": "three M is a firm",
    "a 50/50 chance": "a fifty fifty chance",
    "my score was 97/100!!": "my score was ninety-seven out of one hundred!!",
    "I rate it 4.5/5": "I rate it four point five out of five",
    "20%-30%": "twenty percent to thirty percent",
    "5 – 10 people": "five to ten people",
    "It rained — 5 people left.": "It rained — five people left.",
    "the 49ers won": "the forty-niners won",
    "100s of people, 10s of thousands": "hundreds of people, tens of thousands",
    "3M users": "three million users",
    "meet at 6ish": "meet at six-ish",
    # codes
    "SSN 123-45-6789": "S-S-N one two three, four five, six seven eight nine",
    "card 4111 1111 1111 1111": "card four one one one, one one one one, one one one one, one one one one",
    "the zip code is 10001": "the zip code is one zero zero zero one",
    "Text me at 12345": "Text me at one two three four five",
    "text STOP to 12345": "text STOP to one two three four five",
    "he called 12345 people": "he called twelve thousand three hundred and forty-five people",
    "Gen. 1:1": "Genesis one one",
    "CVE-2023-1234": "C-V-E twenty twenty-three, one two three four",
    "911": "nine one one",
    "Please call 911.": "Please call nine one one.",
    "911 people": "nine hundred and eleven people",
    "a Boeing 747-400": "a Boeing seven forty-seven four hundred",
    "ISBN 978-3-16-148410-0": "I-S-B-N nine seven eight, three, one six, one four eight four one zero, zero",
    "192.168.1.1": "one hundred and ninety-two dot one hundred and sixty-eight dot one dot one",
    "HTTP 404 and Python 3.10": "H-T-T-P four oh four and Python three point ten",
    "Call 1-800-FLOWERS.": "Call one eight hundred FLOWERS.",
    "Beverly Hills, CA 90210": "Beverly Hills, C-A nine zero two one zero",
    "a 401(k)": "a four oh one K",
    "Psalm 23:4": "Psalm twenty-three four",
    # signs
    "10 × 3 = 30": "ten times three equals thirty",
    "24 = 2 × 3 × 4": "twenty-four equals two times three times four",
    "It is mc², x² + y².": "It is mc squared, x squared plus y squared.",
    "C:\\Users": "C colon backslash Users",
    "10³ cells": "ten cubed cells",
    "2^10 = 1024": "two to the power of ten equals one thousand and twenty-four",
    "x² + y² = z²": "x squared plus y squared equals z squared",
    "f(x) = 2x + 1": "f(x) equals two x plus one",
    "3×10⁸ m/s": "three times ten to the power of eight meters per second",
    "1e-5": "one times ten to the power of minus five",
    "if x >5": "if x is greater than five",
    ">5 people": "more than five people",
    "x ≥ 5, x != y": "x is greater than or equal to five, x is not equal to y",
    "error rate < 1%": "error rate less than one percent",
    "I <3 you": "I love you",
    "√2, π and β-carotene": "the square root of two, pi and beta-carotene",
    "A → B": "A to B",
    "<b>bold</b>": "bold",
    "I/O, TCP/IP": "I-O, T-C-P I-P",
    "C++, .NET and Node.js": "C plus plus, dot net and Node dot J-S",
    "an A+ and a B-": "an A plus and a B minus",
    # Roman numerals
    "in the XVIII and XIX centuries": "in the eighteenth and nineteenth centuries",
    "the XXI century": "the twenty-first century",
    "Elizabeth I was queen.": "Elizabeth the first was queen.",
    "Act III, Scene ii": "Act three, Scene two",
    "IV. Results": "four. Results",
    # abbreviations
    "Bldg. 3, Fl. 2": "Building three, Floor two",
    "Who? The WHO's plan": "Who? The W-H-O's plan",
    "LOL, FYI, TBA, IMHO": "L-O-L, F-Y-I, T-B-A, I-M-H-O",
    "on 5th Ave. today": "on fifth Avenue today",
    "the corner of W. 42nd St.": "the corner of West forty-second Street.",
    "in the U.S. Prices rose": "in the U-S. Prices rose",
    "in the U.S. Senate": "in the U-S Senate",
    "Dr. Smith came. It rained.": "Doctor Smith came. It rained.",
    "Acme Co. Ltd. of York": "Acme Company Limited of York",
    "max. 5, tel. 555-1234": "maximum five, telephone five five five, one two three four",
    "№ 5 and n° 6": "number five and number six",
    "u r gr8, b4 2morrow": "u r great, before tomorrow",
    "up 12% y/y": "up twelve percent year on year",
}


@pytest.mark.parametrize("written", READINGS)
def test_reading(written):
    assert verbalise(written, "en-1") == READINGS[written]
    assert verbalise(READINGS[written], "en-1") == READINGS[written]  # what was read once stays


WORDS = st.sampled_from(["cats", "window", "green", "talked", "along", "quiet", "river", "slowly", "garden", "people"])
NUMBERS = st.one_of(
    st.integers(0, 99_999).map(str),
    st.integers(0, 9_999_999).map("{:,}".format),
    st.decimals(0, 9999, places=2).map(str),
)
SHAPES = (
    "{}|${}|£{}|{}%|{}km|{} kg|{}\"|{}'|>{}|<{}|~{}|-{}|({})|{}th|#{}|{}m²|{}°|{}°C|{}s|{}x|{}/7|{}-9|{}–{}|{} – {}|"
    "{}:30|{}³|€{}/kg|{}am|₽{}|₾{}|No. {}|p. {}|{}ers|{}-lb|{}e5|{}^2|2020/{}/{}|{} in.|{} ft {} in|on {}/{}|Room {}|"
    "v{}|${}-{}|{}%-{}%"
)
TOKENS = st.builds(lambda shape, number: shape.replace("{}", number), st.sampled_from(SHAPES.split("|")), NUMBERS)


@given(st.lists(st.tuples(WORDS, TOKENS), min_size=1, max_size=4))
def test_nothing_is_lost_and_what_was_read_stays(pairs):
    """The words around keep their order, each token is read as something, and no figure or sign of money is left."""
    read = verbalise(" ".join(f"{word} {token}" for word, token in pairs) + " end", "en-1")
    assert not any(
        unicodedata.category(character)[0] == "N" or unicodedata.category(character) == "Sc" for character in read
    )
    assert verbalise(read, "en-1") == read
    spoken, place = read.split(), 0
    for word in [*(word for word, _ in pairs), "end"]:
        found = spoken.index(word, place)
        assert found > place or not place, read  # between two of the words something is said
        place = found + 1


@given(st.text())
def test_no_sign_of_money_is_left(text):
    assert not any(unicodedata.category(character) == "Sc" for character in verbalise(text, "en-1"))
