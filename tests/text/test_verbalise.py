"""Text normalisation in a tokenizer: in training and synthesis alike, kept in a checkpoint, and off where it was."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melle.cli import main
from melle.data.dataset import word_tokens
from melle.data.index import tokens_of
from melle.errors import DataError, UserError
from melle.pretrained import read_description
from melle.text import normalising, tokenizer_from_dict
from melle.text.phonemes import PhonemeTokenizer
from melle.text.subwords import SubwordTokenizer
from melle.text.symbols import SymbolTokenizer
from melle.text.verbalise import verbalise
from melle.text.words import group_words
from tests.test_readme import ROOT

KINDS = {
    "characters": lambda texts, **how: SymbolTokenizer.fit(texts, "characters", **how),
    "words": lambda texts, **how: SymbolTokenizer.fit(texts, "words", **how),
    "bpe": lambda texts, **how: SubwordTokenizer.fit(texts, 60, **how),
    "phonemes": lambda texts, **how: PhonemeTokenizer.fit(texts, **how),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tokenizer_learns_and_reads_figures_as_words(kind):
    language = {"language": "en-us"}
    tokenizer = KINDS[kind](["it costs 5 dollars, Dr. Lee", "a full text of letters b k m p v"], **language)
    assert tokenizer.encode("$5, Dr. Lee", strict=True) == tokenizer.encode("five dollars, Doctor Lee", strict=True)
    assert tokenizer.as_dict()["normaliser"] == "en-1"
    for again in (tokenizer_from_dict(tokenizer.as_dict()), pickle.loads(pickle.dumps(tokenizer))):
        assert again.encode("$5") == tokenizer.encode("five dollars")
    off = KINDS[kind](["it costs 5 dollars"], **language, normalise=False)
    assert "normaliser" not in off.as_dict() and off.spoken("$5") == "$5"
    assert normalising(tokenizer, False).spoken("$5") == "$5"
    assert normalising(off, True).spoken("$5") == "five dollars"
    assert normalising(off, None) is off


def test_texts_of_another_language_are_not_read_as_english():
    tokenizer = SymbolTokenizer.fit(["eins 2"], "characters", language="de")
    assert tokenizer.spoken("2") == "zwei"
    assert tokens_of("eins", "de-AT", tokenizer)[0] == tokens_of("eins", None, tokenizer)[0]
    with pytest.raises(DataError, match=r"its language is fr, and tokenizer\.language=de"):
        tokens_of("eins", "fr", tokenizer)
    assert tokens_of("eins", "fr", normalising(tokenizer, False))


def test_what_cannot_be_read_is_named():
    with pytest.raises(UserError, match="'en-99' is of a newer version"):
        SymbolTokenizer("words", ["one"], "en-99")
    with pytest.raises(UserError, match="no text normalisation for the language ja; there is de, en, es, fr, it"):
        normalising(PhonemeTokenizer("ja", []), True)


@pytest.mark.parametrize(
    ("language", "written", "read"),
    [
        ("de", "Es waren 23 Gänse.", "Es waren dreiundzwanzig Gänse."),
        ("de", "1.234,5 und -7", "eintausendzweihundertvierunddreißig Komma fünf und minus sieben"),
        ("de", "50 % für 3,20 €", "fünfzig Prozent für drei Euro zwanzig"),
        ("de", "Am 3. März.", "Am dritten März."),
        ("de", "Der 3. März um 10:30", "Der dritte März um zehn dreißig"),
        ("de", "Er ist 30.", "Er ist dreißig."),
        ("de", "Am 24.12.2020.", "Am vierundzwanzigsten Dezember zweitausendzwanzig."),
        ("de", "Im Jahr 1984", "Im Jahr neunzehnhundertvierundachtzig"),
        ("de", "1984 Gänse", "eintausendneunhundertvierundachtzig Gänse"),
        ("it", "-1° o 20 °C o -5°C", "meno un grado o venti gradi Celsius o meno cinque gradi Celsius"),
        ("de", "Mai 1984", "Mai neunzehnhundertvierundachtzig"),
        ("de", "2. Auflage, in der 2. Auflage", "zweite Auflage, in der zweiten Auflage"),
        ("de", "der 1. FC, ein 3. Platz", "der erste FC, ein dritter Platz"),
        ("de", "Er ist 30. Die Katze", "Er ist dreißig. Die Katze"),
        ("de", "1 Katze, 1 Hund, mit 1 Katze", "eine Katze, ein Hund, mit einer Katze"),
        ("de", "um 1 Uhr, 1 Million", "um ein Uhr, eine Million"),
        ("de", "Kapitel 1 Der Anfang", "Kapitel eins Der Anfang"),
        ("fr", "la 1re fois, le 1er mai", "la première fois, le premier mai"),
        ("fr", "à 21 heures, 31 jours, 10h30", "à vingt et une heures, trente et un jours, dix heures trente"),
        ("es", "21 casas, 21 libros, 200 casas", "veintiuna casas, veintiún libros, doscientas casas"),
        ("es", "1 día, 1 casa, el 1 de mayo", "un día, una casa, el uno de mayo"),
        ("es", "la 2ª vez, 3.er piso, 11º", "la segunda vez, tercer piso, decimoprimero"),
        ("it", "la 1ª volta, 23ª", "la prima volta, ventitreesima"),
        ("it", "1 casa, 1 libro, 1 studente", "una casa, un libro, uno studente"),
        ("it", "fa -5° e il 5° giorno", "fa meno cinque gradi e il quinto giorno"),
        ("fr", "80 pour 1 234 €", "quatre-vingts pour mille deux cent trente-quatre euros"),
        ("fr", "le 2e, 3,14", "le deuxième, trois virgule un quatre"),
        ("es", "21 o 1.000.000", "veintiuno o un millón"),
        ("es", "5 % y 2,5", "cinco por ciento y dos coma cinco"),
        ("it", "28 euro, 3,5", "ventotto euro, tre virgola cinque"),
        ("it", "il 5%", "il cinque per cento"),
        ("de", "Am 22/07/1998.", "Am zweiundzwanzigsten Juli neunzehnhundertachtundneunzig."),
        (
            "fr",
            "Le 22/07/1998 et le 1/5/2020.",
            "Le vingt-deux juillet mille neuf cent quatre-vingt-dix-huit et le premier mai deux mille vingt.",
        ),
        ("es", "El 22/07/1998.", "El veintidós de julio de mil novecientos noventa y ocho."),
        (
            "it",
            "Il 22/07/1998 e il 1/5/2020.",
            "Il ventidue luglio millenovecentonovantotto e il primo maggio duemilaventi.",
        ),
        (
            "de",
            "1/2 Liter, 1/2 Stunde, 3/4, 2/3, 2 1/2",
            "ein halber Liter, eine halbe Stunde, drei Viertel, zwei Drittel, zweieinhalb",
        ),
        (
            "fr",
            "1/2, 3/4, 2/3, 1 1/2, 3/4 km",
            "un demi, trois quarts, deux tiers, un et demi, trois quarts de kilomètre",
        ),
        ("es", "1/2, 1/2 hora, 3/4, 2/3, 2 1/2", "un medio, media hora, tres cuartos, dos tercios, dos y medio"),
        (
            "it",
            "1/2, 3/4, 2/3, 2 1/2, 1/2 km, ½ ora",
            "un mezzo, tre quarti, due terzi, due e mezzo, mezzo chilometro, mezz'ora",
        ),
        (
            "de",
            "Um 14:30 Uhr, um 8:05 Uhr, von 8-10 Uhr.",
            "Um vierzehn Uhr dreißig, um acht Uhr fünf, von acht bis zehn Uhr.",
        ),
        (
            "de",
            "bis 1715, von 1685 bis 1750, 1914-1918",
            "bis siebzehnhundertfünfzehn, von sechzehnhundertfünfundachtzig bis siebzehnhundertfünfzig, "
            "neunzehnhundertvierzehn bis neunzehnhundertachtzehn",
        ),
        ("de", "um 1900 Euro, in 1200 Metern", "um eintausendneunhundert Euro, in eintausendzweihundert Metern"),
        (
            "de",
            "Tel. 030 1234567 oder +49 30 123456",
            "Telefon null drei null, eins zwei drei vier fünf sechs sieben oder plus vier neun, drei null, "
            "eins zwei drei vier fünf sechs",
        ),
        (
            "it",
            "Tel. 06 1234567 o +39 06 1234567",
            "Telefono zero sei, uno due tre quattro cinque sei sette o più tre nove, zero sei, uno due tre "
            "quattro cinque sei sette",
        ),
        ("es", "+34 912 345 678", "más tres cuatro, nueve uno dos, tres cuatro cinco, seis siete ocho"),
        ("fr", "+33 1 23 45 67 89", "plus trente-trois un vingt-trois quarante-cinq soixante-sept quatre-vingt-neuf"),
        ("de", "S. 12–15", "Seite zwölf bis fünfzehn"),
        (
            "de",
            "20 °C, 120 km/h, 5 kg, 1 m, 2,5 km, 5 m²",
            "zwanzig Grad Celsius, einhundertzwanzig Kilometer pro Stunde, fünf Kilogramm, ein Meter, zwei "
            "Komma fünf Kilometer, fünf Quadratmeter",
        ),
        (
            "fr",
            "20 °C, 120 km/h, 1,5 km, 200 g, 1 m",
            "vingt degrés Celsius, cent vingt kilomètres à l'heure, un virgule cinq kilomètre, deux cents "
            "grammes, un mètre",
        ),
        (
            "es",
            "20 °C, 120 km/h, 1 kg, 21 cm, 2,5 km",
            "veinte grados Celsius, ciento veinte kilómetros por hora, un kilogramo, veintiún centímetros, "
            "dos coma cinco kilómetros",
        ),
        (
            "it",
            "20 °C, 120 km/h, 1 kg, 200 g, 2,5 km",
            "venti gradi Celsius, centoventi chilometri all'ora, un chilogrammo, duecento grammi, due "
            "virgola cinque chilometri",
        ),
        (
            "de",
            "Dr. Müller hat z. B. Hunde, d.h. Tiere usw. Nr. 5 kostet ca. 3 Mio. Euro bzw. 1 Mrd.",
            "Doktor Müller hat zum Beispiel Hunde, das heißt Tiere und so weiter. Nummer fünf kostet circa "
            "drei Millionen Euro beziehungsweise eine Milliarde.",
        ),
        (
            "fr",
            "M. Dupont, Mme Roy et Mlle Rose, Dr Petit, p. ex. J. M. Roy, etc.",
            "Monsieur Dupont, Madame Roy et Mademoiselle Rose, Docteur Petit, par exemple J. M. Roy, et cetera.",
        ),
        (
            "es",
            "El Sr. López, la Sra. Ruiz y el Dr. Gil, p. ej. hoy, etc.",
            "El señor López, la señora Ruiz y el doctor Gil, por ejemplo hoy, etcétera.",
        ),
        (
            "it",
            "Il Sig. Rossi e il Dott. Bianchi, per es. oggi, ecc.",
            "Il signor Rossi e il dottor Bianchi, per esempio oggi, eccetera.",
        ),
        (
            "de",
            "Ludwig XIV. starb. Unter Ludwig XIV. lebte Heinrich IV, Elisabeth II. und Karl V.",
            "Ludwig der Vierzehnte starb. Unter Ludwig dem Vierzehnten lebte Heinrich der Vierte, Elisabeth "
            "die Zweite und Karl der Fünfte.",
        ),
        ("de", "im XIX. Jahrhundert", "im neunzehnten Jahrhundert"),
        ("de", "Otto V. Müller", "Otto V. Müller"),
        ("de", "vom 3.-5. Mai", "vom dritten bis fünften Mai"),
        ("de", "3 x 4 m", "drei mal vier Meter"),
        ("fr", "3 x 4 m, 3 × 4, Acte I, Henri I", "trois sur quatre mètres, trois fois quatre, Acte un, Henri premier"),
        ("es", "3 x 4 m", "tres por cuatro metros"),
        ("it", "3 x 4 m", "tre per quattro metri"),
        (
            "fr",
            "Louis XIV, François Ier, Charles X, le XVIIIe siècle",
            "Louis quatorze, François premier, Charles dix, le dix-huitième siècle",
        ),
        (
            "es",
            "el siglo XVI, Felipe II, Isabel II, Alfonso XIII, los siglos XV y XVI",
            "el siglo dieciséis, Felipe segundo, Isabel segunda, Alfonso trece, los siglos quince y dieciséis",
        ),
        (
            "it",
            "il XIX secolo, Luigi XIV, Elisabetta II, nel XX e XXI secolo",
            "il diciannovesimo secolo, Luigi quattordicesimo, Elisabetta seconda, nel ventesimo e ventunesimo secolo",
        ),
        (
            "de",
            "Auf S.5, unter Nr.7, das sind ca.5 km",
            "Auf Seite fünf, unter Nummer sieben, das sind circa fünf Kilometer",
        ),
        ("fr", "le n°5, voir p.5", "le numéro cinq, voir page cinq"),
        ("es", "la pág.5", "la página cinco"),
        ("it", "a pag.5, il n.5", "a pagina cinque, il numero cinque"),
    ],
)
def test_numbers_of_other_languages(language, written, read):
    assert verbalise(written, f"{language}-1") == read


@pytest.mark.parametrize("normaliser", ["de-1", "fr-1", "es-1", "it-1"])
@given(st.text(alphabet="0123456789.,:/-+%$€°'() aAkKmMgIVXS½²①٣é", max_size=30))
def test_no_figure_of_other_languages_is_left(normaliser, text):
    assert not any(character.isdecimal() for character in verbalise(text, normaliser))


@pytest.mark.parametrize(
    ("written", "spoken", "groups"),
    [
        ("he paid $3.50 now", "he paid three dollars fifty now", [(0, 1), (1, 2), (2, 5), (5, 6)]),
        ("12 March", "the twelfth of March", [(0, 3), (3, 4)]),
        ("a b", "a b", [(0, 1), (1, 2)]),
        ("23 45", "x y z w", [(0, 2), (2, 4)]),
        ("3 km", "three kilometers", [(0, 1), (1, 2)]),
    ],
)
def test_spoken_words_are_shared_out_to_the_written(written, spoken, groups):
    assert group_words(written.split(), spoken.split()) == groups


def test_the_tokens_of_a_written_word_are_those_of_its_reading():
    tokenizer = SymbolTokenizer.fit(["five dollars and six cats"], "characters", language="en")
    ids = tokenizer.encode("$5 and 6 cats")
    found = [tokenizer.decode(ids[a:b]) for a, b in word_tokens(tokenizer, "$5 and 6 cats", ids)]
    assert found == ["five dollars", "and", "six", "cats"]


def test_the_shipped_model_reads_figures_and_the_command_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    command = ["synthesize", "--text", "At 5 p.m.", "--show-text", "-o", str(tmp_path / "a.wav"), "--device", "cpu"]
    assert main(command) == 0
    assert "At five P-M.\n" in capsys.readouterr().out
    assert main([*command, "--no-normalise"]) == 0
    assert "At 5 p.m.\n" in capsys.readouterr().out


def test_an_export_may_turn_it_on_or_off(tiny_checkpoint, tmp_path):
    for option, normaliser in (("--normalise", "en-1"), ("--no-normalise", None)):
        assert main(["export", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "model"), option]) == 0
        assert read_description(tmp_path / "model")[0].tokenizer.normaliser == normaliser
