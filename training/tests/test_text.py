import pytest
from tilescout_train.data import masks
from tilescout_train.text import UNKNOWN, Tokenizer, build_tokenizer, load_concepts, split_words

WORDS = ["<pad>", "<unk>", "harbor", "parking", "lot", "lots", "near", "airport", "factory", "bus"]
ALIASES = {
    "harbour": "harbor", "car park": "parking lot", "car parks": "parking lots", "car": "near",
    "aerodrome": "airport",
}


@pytest.mark.parametrize(
    ("text", "want", "unknown"),
    [
        ("Harbour", ["harbor"], []),
        ("car parks near the aerodrome", ["parking", "lots", "near", "<unk>", "airport"], ["the"]),
        ("car, park", ["parking", "lot"], []),
        ("FACTORIES harbors buses", ["factory", "harbor", "bus"], []),
        ("harbor's", ["harbor"], []),
        ("\uff28arbour_2", ["harbor", "<unk>"], ["2"]),
        ("森林 \U0001f30d", ["<unk>"], ["森林"]),
        ("", [], []),
    ],
)
def test_encode(text, want, unknown):
    tokenizer = Tokenizer(WORDS, ALIASES, 8)
    ids, missing = tokenizer.encode(text)
    assert [WORDS[i] for i in ids] == want
    assert missing == unknown


def test_long_text_is_cut_and_batches_are_padded():
    tokenizer = Tokenizer(WORDS, ALIASES, 3)
    assert tokenizer.encode("bus " * 9)[0] == [9, 9, 9]
    assert tokenizer.batch([[2], []], 3).tolist() == [[2, 0, 0], [0, 0, 0]]


def test_apostrophes_join_and_other_signs_split():
    assert split_words("Don\u2019t-stop.Now") == ["dont", "stop", "now"]


def test_every_name_of_every_concept_is_known():
    concepts, aliases = load_concepts()
    tokenizer = build_tokenizer(["some other words"] * 3, concepts, aliases, 24)
    for concept in concepts:
        for name in concept.names:
            ids, unknown = tokenizer.encode(name)
            assert ids and not unknown, name
    assert tokenizer.encode("some words zzyzx")[0][-1] == UNKNOWN
    masks(concepts)  # refuses an overlap that is no concept


def test_aliases_fit_the_longest_match():
    _, aliases = load_concepts()
    assert all(len(k.split()) <= 3 for k in aliases)
    assert all(k == " ".join(split_words(k)) for k in aliases)
