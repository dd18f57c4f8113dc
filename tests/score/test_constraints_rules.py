"""Every instruction with answers that follow it and answers that do not, and the counts of words and sentences behind them."""

import pytest

from engine.score.constraint import build, detector, kinds, sentences
from engine.score.constraint.text import Text

THREE = "First one here.\n\nSecond, it goes on.\n\n'Third' is last."
GERMAN = "Der alte Garten lag hinter dem Haus, und niemand wusste, woher der Brief kam."
FRENCH = "Le vieux jardin se trouvait derrière la maison et personne ne savait d'où venait la lettre."
HINDI = "पुराना बगीचा घर के पीछे था और किसी को नहीं पता था कि चिट्ठी कहाँ से आई।"
ENGLISH = "The old garden lay behind the house and nobody knew where the letter came from."
CASES = [
    ("change_case:capital_word_frequency", {"capital_frequency": 3, "capital_relation": "at least"}, ["A NEW day, I say"], ["A New day"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"}, ["Only NASA"], ["NASA and ESA"]),
    ("change_case:english_capital", {}, [ENGLISH.upper(), "3 X " + ENGLISH.upper()], [ENGLISH, GERMAN.upper(), "123"]),
    ("change_case:english_lowercase", {}, [ENGLISH.lower()], [ENGLISH, GERMAN.lower(), "123"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": " Say hi. "}, ["\nsay HI. Hi!"], ["Sure. Say hi. Hi!", "Say"]),
    ("combination:two_responses", {}, ["one****** two", "******a******b******"], ["one", "a******a ", "a******b******c", "a************b"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b]", "[] [x y]"], ["[a] [b", "[a\n] [b]", "[[a]]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye. P.S. Hi", "p. s. hi"], ["PS: hi", "P.P.S hi"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["p.p.s hi", "P. P. S. hi"], ["P.S. hi"]),
    ("detectable_content:postscript", {"postscript_marker": "PS:"}, ["ps: hi"], ["P.S. hi"]),
    ("detectable_format:constrained_response", {}, ["I think My answer is no. So."], ["My answer is No.", "no"]),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1]}', "```json\n[1]\n```", "```\n2\n```", '"text"'],
        ["{a: 1}", '{"a": 1} ok', "[" * 10**5],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1 a Section2"],
        ["SECTION 1\nSection 2"],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n  * b", "- a\n\n-b", "* a\n***\n- b"],
        ["* a", "** a\n* b", "x * a\n- b"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "**a b** *c*"],
        ["*a\n* b*", "* * *a*", "**a"],
    ),
    ("detectable_format:title", {}, ["<<ode>>\ntext", "x <<<a>>>"], ["<ode>", "<< >>", "<<a\nb>>", "<<>>", ">><<"]),
    ("keywords:existence", {"keywords": ["war", "Peace"]}, ["WARfare, peaceful"], ["war only"]),
    ("keywords:forbidden_words", {"forbidden_words": ["war", "peace"]}, ["warfare"], ["no War!", "peace"]),
    ("keywords:frequency", {"keyword": " rock ", "frequency": 2, "relation": "at least"}, ["Rockets rock"], ["rock"]),
    ("keywords:frequency", {"keyword": "rock", "frequency": 2, "relation": "less than"}, ["rock", "none"], ["rock rock"]),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": "at least"}, ["q Q"], ["q"]),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "less than"}, ["none"], ["#one"]),
    ("language:response_language", {"language": "de"}, [GERMAN, "123 ..."], [ENGLISH, FRENCH]),
    ("language:response_language", {"language": "hi"}, [HINDI], [ENGLISH]),
    ("language:response_language", {"language": "fr"}, [FRENCH], [GERMAN]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "second"},
        [THREE],
        ["Second\n\nx"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 3, "nth_paragraph": 3, "first_word": "Third"},
        [THREE],
        [THREE + "\n\nx"],
    ),
    # an empty paragraph is not counted, yet the nth is looked up among all
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "b"},
        ["a\n\nb"],
        ["a\n\n\n\nb"],
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a\n***\nb", "***\na***b\n***"], ["a", "a\n\nb", "a***\n***b"]),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        ["One. Two.", "Hi! Yes"],
        ["Dr. Smith left.", "One"],
    ),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, ["It is 3.5, said Dr. Smith."], ["One? Two."]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, ["don't go", "é ü ö"], ["two words"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["well done!"], ["well-known x"]),
    ("punctuation:no_comma", {}, ["a; b、c"], ["a, b"]),
    ("startend:end_checker", {"end_phrase": "The end. "}, ["So. THE END.\n", '"x the end."'], ["The end. Bye", "the end"]),
    ("startend:quotation", {}, ['"all of it"\n', '""'], ['"', "'a'", 'He said "a"', "“a”"]),
]


@pytest.mark.parametrize(("name", "given", "follow", "fail"), CASES)
def test_an_instruction(name, given, follow, fail):
    rule = build(name, given)
    assert [rule.failure(Text(text)) for text in follow] == [None] * len(follow)
    assert all(rule.failure(Text(text)) for text in fail)


def test_every_instruction_is_tested():
    assert {name for name, *_ in CASES} == set(kinds())


def test_a_paragraph_that_cannot_be_there_is_an_error():
    with pytest.raises(Exception, match="nth_paragraph 3 is not among the 2"):
        build("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"})


def test_a_language_with_a_region_counts_as_the_language():
    assert build("language:response_language", {"language": "zh-cn"}).failure(Text("今天天气很好，我们去公园散步。")) is None


def test_every_language_that_can_be_asked_for_can_be_told():
    assert len(detector.names()) == 54
    assert detector.language(ENGLISH) == "en" and detector.language("12 + 3") is None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("DON'T STOP", 3),  # DO, N'T, STOP
        ("IT'S John's NASA-ESA", 3),
        ("CANNOT I SEE *THIS* (AND) A/B?", 7),
        ("1ST U.S.A. e.g. Mr. X,Y 12 --", 4),
        ("McDONALD'S", 1),
        ("none of it", 0),
    ],
)
def test_words_in_capitals_are_cut_as_nltk_cuts_them(text, count):
    assert Text(text).capitals == count


@pytest.mark.parametrize("text", ["don't_stop 3.5 well-known", "a b\tc\nd", "", "...", "naïve café", "a\u00a0b"])
def test_words(text):
    import re

    assert Text(text).words == len(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two? Three!", 3),
        ("Dr. Smith met J. Doe at 3.5 p.m. yesterday.", 1),
        ("1. Buy milk. 2. Go home.", 4),
        ("Is it? Yes! (Maybe.) No", 4),
        ('He said "stop." Then he left.', 2),
        ("A title\nand a line\n\nand more", 1),
        ("Wait... what? Well-known facts end. Here", 3),
    ],
)
def test_sentences(text, count):
    assert sentences.count(text) == count


def test_cutting_where_it_is_sure_changes_no_count():
    """Against Punkt over the whole text, for texts made of what makes it think."""
    import random

    import punkt

    whole = punkt.PunktSentenceTokenizer(punkt.load_model("english"))
    bits = [
        "Dr.",
        "e.g.",
        "end.",
        "so!",
        "3.5",
        "1.",
        "J.",
        "why?",
        "(yes.)",
        'said."',
        "U.S.",
        "...",
        "well-known.",
        "it's.",
        "The",
        "a",
        ")",
    ]
    random_ = random.Random(3)
    for _ in range(600):
        text = random_.choice([" ", "\n", "  "]).join(random_.choices(bits, k=random_.randint(1, 25)))
        assert sentences.count(text) == len(whole.tokenize(text)), text


def test_degenerate_answers_take_no_quadratic_time():
    """Texts on which the obvious regular expressions look at every pair of characters; minutes, were it so."""
    for mark, name, given in [
        ("[", "detectable_content:number_placeholders", {"num_placeholders": 1}),
        ("<<", "detectable_format:title", {}),
        ("\n", "detectable_format:number_bullet_lists", {"num_bullets": 1}),
    ]:
        assert build(name, given).failure(Text(mark * 200_000)) is not None
