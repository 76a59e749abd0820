"""English figures, signs and abbreviations are read as people read them."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melle.text.verbalise import find_normaliser, verbalise

READINGS = {
    # cardinals
    "I have 0 apples and 7 pears.": "I have zero apples and seven pears.",
    "There are 23 geese.": "There are twenty-three geese.",
    "A crowd of 101 came.": "A crowd of one hundred and one came.",
    "It costs 1,234 points.": "It costs one thousand two hundred and thirty-four points.",
    "About 1,000,000 people": "About one million people",
    "Count 7000 sheep": "Count seven thousand sheep",
    "-5 is less than 3": "minus five is less than three",
    "Agent 007": "Agent zero zero seven",
    "Call 12345678901234567890 now": "Call one two three four five six seven eight nine zero one two three four five "
    "six seven eight nine zero now",
    # ordinals
    "the 1st, 2nd, 3rd and 4th": "the first, second, third and fourth",
    "on the 21st floor": "on the twenty-first floor",
    "her 100th birthday": "her one hundredth birthday",
    "the 112th time": "the one hundred and twelfth time",
    # decimals
    "Pi is 3.14159.": "Pi is three point one four one five nine.",
    "0.5 or .25": "zero point five or point two five",
    "It grew by 1,050.75 points": "It grew by one thousand and fifty point seven five points",
    "version 3.2.1 is out": "version three point two point one is out",
    # years
    "in 1984": "in nineteen eighty-four",
    "In 1900 and 1905": "In nineteen hundred and nineteen oh-five",
    "since 2000, 2008 and 2021": "since two thousand, two thousand and eight and twenty twenty-one",
    "the battle of 1815": "the battle of eighteen fifteen",
    "in 1066": "in ten sixty-six",
    "the war of 1914-1918": "the war of nineteen fourteen to nineteen eighteen",
    "from 1939-45": "from nineteen thirty-nine to forty-five",
    "the 1990s": "the nineteen nineties",
    "the '80s and the 60s": "the eighties and the sixties",
    "the 1900s": "the nineteen hundreds",
    "70s music": "seventies music",
    "the 1950s-60s": "the nineteen fifties to sixties",
    "the 80s-90s": "the eighties to nineties",
    "the '00s": "the two thousands",
    "He is in his 20s.": "He is in his twenties.",
    "in 44 BC": "in forty-four B-C",
    "c. 1850": "circa eighteen fifty",
    "mid-2019": "mid-twenty nineteen",
    "Pre-1990 and post-2000": "Pre-nineteen ninety and post-two thousand",
    # dates
    "on 12 March 2021": "on the twelfth of March twenty twenty-one",
    "on the 12th of March, 2021": "on the twelfth of March, twenty twenty-one",
    "March 5, 2021": "March fifth, twenty twenty-one",
    "by January 1st": "by January first",
    "Sept. 11, 2001": "September eleventh, two thousand and one",
    "5 Nov. 1605": "the fifth of November sixteen oh-five",
    "Jan. 2020": "January twenty twenty",
    "2021-03-05": "March fifth, twenty twenty-one",
    "3/5/2021": "March fifth, twenty twenty-one",
    "25/12/1999": "December twenty-fifth, nineteen ninety-nine",
    "5.3.2021": "March fifth, twenty twenty-one",
    "Mon. 3 May": "Monday the third of May",
    "May 5-7": "May fifth to seventh",
    # times
    "at 10:30": "at ten thirty",
    "at 7:05 am": "at seven oh five A-M",
    "at 12:00": "at twelve o'clock",
    "from 13:00": "from thirteen hundred",
    "at 5 p.m.": "at five P-M.",
    "at 5 p.m. he left": "at five P-M he left",
    "At 9 a.m. She left.": "At nine A-M. She left.",
    "5-6 pm": "five to six P-M",
    "10:30:15": "ten thirty and fifteen seconds",
    "It's 7 o'clock.": "It's seven o'clock.",
    "at 0:15": "at zero fifteen",
    "10am-5pm": "ten A-M to five P-M",
    "10 a.m.-5 p.m. daily": "ten A-M to five P-M daily",
    "At 5 P.M. Bob left.": "At five P-M. Bob left.",
    "open 9:00-17:00": "open nine o'clock to seventeen hundred",
    # money
    "$3.50": "three dollars and fifty cents",
    "$1": "one dollar",
    "£5.01": "five pounds and one penny",
    "€1.99": "one euro and ninety-nine cents",
    "$0.99": "ninety-nine cents",
    "$1,234.56": "one thousand two hundred and thirty-four dollars and fifty-six cents",
    "$2.5 million": "two point five million dollars",
    "£5m": "five million pounds",
    "$3bn in debt": "three billion dollars in debt",
    "$10k": "ten thousand dollars",
    "$3M or $5B": "three million dollars or five billion dollars",
    "$3M-$5M": "three million dollars to five million dollars",
    "$10K, $1T": "ten thousand dollars, one trillion dollars",
    "£2bn and £2Bn": "two billion pounds and two billion pounds",
    "$3 T-shirts": "three dollars T-shirts",
    "¥500": "five hundred yen",
    "20 €": "twenty euros",
    "100 USD": "one hundred U-S dollars",
    "US$5": "five U-S dollars",
    "-$5": "minus five dollars",
    "$5-10": "five to ten dollars",
    "£10–£20": "ten to twenty pounds",
    "50p and 10¢": "fifty pence and ten cents",
    # units
    "3.5 kg": "three point five kilograms",
    "1 km": "one kilometer",
    "10km": "ten kilometers",
    "80 km/h": "eighty kilometers per hour",
    "60 mph": "sixty miles per hour",
    "20 °C": "twenty degrees Celsius",
    "-5°C": "minus five degrees Celsius",
    "90°": "ninety degrees",
    "5 m²": "five square meters",
    "2 m³": "two cubic meters",
    "1500 m": "one thousand five hundred meters",
    "16GB": "sixteen gigabytes",
    "2.4 GHz": "two point four gigahertz",
    "5'10\" tall": "five feet ten inches tall",
    "6 ft": "six feet",
    "1080p or 720p": "ten eighty p or seven twenty p",
    "20 ft. tall": "twenty feet tall",
    "5 oz. each": "five ounces each",
    "It is 20 ft. He left.": "It is twenty feet. He left.",
    "It is 5 km.": "It is five kilometers.",
    "10 mins": "ten minutes",
    "in 30s": "in thirty seconds",
    "9.8 m/s": "nine point eight meters per second",
    # per cent, fractions, ranges
    "50%": "fifty percent",
    "0.5 %": "zero point five percent",
    "5-10%": "five to ten percent",
    "1/2 of it": "one half of it",
    "3/4": "three quarters",
    "5/8": "five eighths",
    "2/3": "two thirds",
    "2 1/2 cups": "two and a half cups",
    "½ and 3¾": "one half and three and three quarters",
    "24/7": "twenty-four seven",
    "10–20 people": "ten to twenty people",
    "a 3-2 win": "a three two win",
    "16:9": "sixteen to nine",
    "a 19-year-old": "a nineteen-year-old",
    # telephones
    "555-1234": "five five five, one two three four",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "+1 555 123 4567": "plus one, five five five, one two three, four five six seven",
    "020 7946 0958": "zero two zero, seven nine four six, zero nine five eight",
    # Roman numerals
    "Henry VIII had six wives": "Henry the eighth had six wives",
    "Louis XIV": "Louis the fourteenth",
    "Elizabeth I, the queen": "Elizabeth the first, the queen",
    "King George V": "King George the fifth",
    "Pope Benedict XVI": "Pope Benedict the sixteenth",
    "World War II": "World War two",
    "Chapter IV": "Chapter four",
    "Rocky III": "Rocky three",
    "George, I think so": "George, I think so",
    # titles and abbreviations
    "Dr. Smith": "Doctor Smith",
    "Mr. and Mrs. Jones": "Mister and Missus Jones",
    "Mr Brown": "Mister Brown",
    "Prof. Lee and Sgt. Pepper": "Professor Lee and Sergeant Pepper",
    "St. Paul": "Saint Paul",
    "221 Baker St.": "two hundred and twenty-one Baker Street.",
    "on Baker St. today": "on Baker Street today",
    "Park Ave. is long": "Park Avenue is long",
    "Martin Luther King Jr. spoke": "Martin Luther King Junior spoke",
    "apples, pears, etc.": "apples, pears, et cetera.",
    "fruit, e.g. apples": "fruit, for example apples",
    "one, i.e. the first": "one, that is the first",
    "cats vs. dogs": "cats versus dogs",
    "No. 5": "number five",
    "See fig. 3 on p. 12.": "See figure three on page twelve.",
    "vol. IV": "volume four",
    "$20/hour": "twenty dollars per hour",
    "pp. 12-15": "pages twelve to fifteen",
    "No. Not at all.": "No. Not at all.",
    "Acme Inc. and Sons Ltd.": "Acme Incorporated and Sons Limited.",
    "J. R. R. Tolkien": "J R R Tolkien",
    "a Ph.D. in physics": "a P-H-D in physics",
    "the U.S.A. today": "the U-S-A today",
    "in the U.K.": "in the U-K.",
    # points after single letters
    "We chose plan B. It failed.": "We chose plan B. It failed.",
    "Take vitamin C. You need it.": "Take vitamin C. You need it.",
    "He got an A. She got a B. They left.": "He got an A. She got a B. They left.",
    "Grade A. Meat": "Grade A. Meat",
    "Plan B. Go home.": "Plan B. Go home.",
    "We saw the U.K. Nobody knew.": "We saw the U-K. Nobody knew.",
    "Washington D.C. The city.": "Washington D-C. The city.",
    "the U.S. Army": "the U-S Army",
    "Malcolm X. He spoke": "Malcolm X. He spoke",
    "Part V. Type one.": "Part five. Type one.",
    "John F. Kennedy": "John F Kennedy",
    "a book by J. K. Rowling": "a book by J K Rowling",
    "Dr. J. Watson and Mr. T. O'Neill": "Doctor J Watson and Mister T O'Neill",
    "He left. E. Blair stayed.": "He left. E Blair stayed.",
    # acronyms
    "The BBC reports": "The B-B-C reports",
    "NASA and NATO": "NASA and NATO",
    "the FBI, the CIA": "the F-B-I, the C-I-A",
    "Please STOP now": "Please STOP now",
    "I said NO, and I meant it": "I said NO, and I meant it",
    "two DVDs": "two D-V-D's",
    "the BBC's news": "the B-B-C's news",
    "an HTML page": "an H-T-M-L page",
    "UNESCO said so": "UNESCO said so",
    "HE WENT AWAY WITH THE DVD": "HE WENT AWAY WITH THE D-V-D",
    "WOW, I love the IT team": "WOW, I love the I-T team",
    "FIX it to the MAX": "FIX it to the MAX",
    "I LOVE IT, he said": "I LOVE IT, he said",
    "I AM here": "I AM here",
    "THE FBI CALLED IBM IN THE USA OVER HDMI": "THE F-B-I CALLED I-B-M IN THE U-S-A OVER H-D-M-I",
    "DO IT FOR US": "DO IT FOR US",
    "It's OK.": "It's okay.",
    # letters and figures
    "an MP3 file": "an M-P three file",
    "the top-100 list": "the top-one hundred list",
    "a Fortune-500 firm": "a Fortune-five hundred firm",
    "COVID-19": "COVID nineteen",
    "an A4 page": "an A four page",
    "a B-52": "a B fifty-two",
    "in 3D": "in three D",
    "an Airbus A380": "an Airbus A three eight zero",
    "H2O": "H two O",
    # addresses
    "Visit www.example.com.": "Visit W-W-W dot example dot com.",
    "https://example.org/a-b": "example dot org slash a dash b",
    "see bbc.co.uk/news today": "see B-B-C dot co dot U-K slash news today",
    "john.doe@example.org": "john dot doe at example dot org",
    "bob99@mail.com": "bob ninety-nine at mail dot com",
    # signs
    "Smith & Sons": "Smith and Sons",
    "R&D": "R and D",
    "#5 and #blessed": "number five and hashtag blessed",
    "meet @home": "meet at home",
    "2 + 2 = 4": "two plus two equals four",
    "6 × 7": "six by seven",
    "he/she": "he slash she",
    "and/or": "and or",
    "C#": "C sharp",
    "~20 people": "about twenty people",
}


@pytest.mark.parametrize("written", READINGS)
def test_reading(written):
    assert verbalise(written, "en-1") == READINGS[written]


def test_there_are_many_kinds():
    assert len(READINGS) >= 120


@pytest.mark.parametrize("read", READINGS.values())
def test_what_was_read_once_stays(read):
    assert verbalise(read, "en-1") == read


FIGURES = st.text(alphabet="0123456789.,:/-+%$€£°'\"() aAbkKmMIVXpst#@&½²①٣", max_size=40)


@given(st.one_of(st.text(), FIGURES))
def test_no_figure_is_left_and_nothing_fails(text):
    read = verbalise(text, "en-1")
    assert not any(unicodedata.category(character)[0] == "N" for character in read), read
    assert read == " ".join(read.split())


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,;!?", min_size=1))
def test_plain_words_stay(text):
    assert verbalise(text, "en-1") == " ".join(text.split()) or re.search(r"\bvs\b", text)


@pytest.mark.parametrize(
    "text", ["1" * 5000, "1," * 3000, "a." * 3000, "A" * 5000, "1/" * 3000, "www." * 2000, "I " * 3000, "+1 " * 2000]
)
def test_long_rows_of_anything_are_read(text):
    assert not any(character.isdecimal() for character in verbalise(text, "en-1"))


def test_a_long_row_of_figures_is_read_figure_by_figure():
    assert verbalise("1" * 4000, "en-1") == " ".join(["one"] * 4000)
    assert verbalise(f"${'1' * 16} m", "en-1") == verbalise("1" * 16, "en-1") + " million dollars"


@pytest.mark.parametrize("part", ["1", "1,", "123,", "1.", "A", "A1", "a", "$1", "AB ", "J. ", "U.", "1-", "1:"])
def test_what_is_read_grows_with_what_is_written(part):
    assert len(verbalise(part * 2000, "en-1")) <= 16 * len(part) * 2000


def test_readings_are_found_by_language():
    assert {find_normaliser(code) for code in ("en", "en-us", "en_GB", "eng")} == {"en-1"}
    assert find_normaliser("ja") is None
