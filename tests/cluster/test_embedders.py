"""Embedders: one text's vector never depends on the others, on the batch or on padding; real tiny models."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generate_tiny
from engine import models
from engine.cluster.embedders import Embedder, embedders, params
from engine.errors import DataError, ModelError, SpecError
from engine.step import Model

TEXTS = [
    "Natalia sold clips to 48 of her friends in April.",
    "A train drives 60 miles an hour.",
    "The train drives 75 miles in an hour.",
    "how many?",
    "",
    "Ünïcode — 漢字 and emoji 🙂",
    "a b c",
]


def make(name: str, values: dict[str, Any] | None = None, spec_path: Path = Path("spec.yaml"), *more: Any) -> Embedder:
    return embedders.load(name)(params(name, values or {}, "cluster.0.params"), spec_path, *more)


class TestHashedNgrams:
    def test_length_one_and_alike_texts_are_near(self) -> None:
        vectors = make("hashed_ngrams").embed(TEXTS)
        assert vectors.shape == (7, 384) and vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        alike = vectors @ vectors.T
        assert alike[1, 2] > 0.5 > 0.2 > max(alike[0, 1], alike[0, 2])

    def test_a_vector_does_not_depend_on_the_other_texts(self) -> None:
        whole = make("hashed_ngrams").embed(TEXTS)
        assert make("hashed_ngrams").embed(TEXTS[::-1])[::-1].tobytes() == whole.tobytes()
        for row, text in enumerate(TEXTS):
            assert make("hashed_ngrams").embed([text]).tobytes() == whole[row : row + 1].tobytes()
        assert make("hashed_ngrams").embed([]).shape == (0, 384)

    def test_the_same_in_another_process_and_on_another_machine(self) -> None:
        """Python's own hash changes by process; the numbers below were made once and must never change."""
        code = (
            "from pathlib import Path; from engine.cluster.embedders import embedders, params\n"
            "e = embedders.load('hashed_ngrams')(params('hashed_ngrams', {'dimensions': 8}, ''), Path('.'))\n"
            "import json; print(json.dumps(e.embed(['A train drives 60 miles an hour.'])[0].tolist()))"
        )
        root = str(Path(__file__).parent.parent.parent)
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": root})
        known = [0.03506298, -0.88826227, 0.14025193, -0.25712857, -0.12856428, 0.28050387, 0.09535827, -0.14025193]
        np.testing.assert_allclose(json.loads(made.stdout), known, atol=1e-7)

    def test_nothing_but_blanks_is_alike_and_unlike_words(self) -> None:
        vectors = make("hashed_ngrams").embed(["", "  \n", "train"])
        assert (vectors[0] == vectors[1]).all() and abs(vectors[0] @ vectors[2]) < 0.2

    def test_settings_matter_and_are_checked(self) -> None:
        assert make("hashed_ngrams", {"dimensions": 50}).embed(TEXTS).shape == (7, 50)
        assert make("hashed_ngrams").name != make("hashed_ngrams", {"stop_weight": 0}).name
        plain = make("hashed_ngrams", {"bigram_weight": 0, "character_weight": 0, "dimensions": 4096})
        ordered = plain.embed(["old red train", "train red old"])
        assert (ordered[0] == ordered[1]).all()
        assert np.count_nonzero(ordered[0]) == 3
        assert np.linalg.norm(make("hashed_ngrams", {"stop_weight": 0}).embed(["of the"])) == 0
        with pytest.raises(SpecError, match="character_max"):
            make("hashed_ngrams", {"character_min": 6})
        with pytest.raises(SpecError, match="no such setting"):
            make("hashed_ngrams", {"dimension": 6})


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = generate_tiny.save(tmp_path_factory.mktemp("policy") / "model")
    return Model(models.digest(path), path)


class TestHiddenState:
    texts = ("1+1=2", "a much longer text than the others, of ABC.", "", "x", "12+30=42", "another text")

    def embed(self, policy: Model, texts: Sequence[str], **values: Any) -> np.ndarray:
        return make("hidden_state", values, Path("spec.yaml"), policy, generate_tiny.CPU).embed(list(texts))

    def test_is_the_mean_of_the_last_hidden_states(self, policy: Model) -> None:
        import torch

        model, tokenizer = models.load(policy.path, generate_tiny.CPU)
        found = self.embed(policy, self.texts, normalise=False)
        assert found.shape == (6, 32) and not found[2].any()
        for row, text in enumerate(self.texts):
            if text:
                ids = torch.tensor([tokenizer(text)["input_ids"]])
                with torch.no_grad():
                    states = model(ids, output_hidden_states=True).hidden_states[-1][0]
                np.testing.assert_allclose(found[row], states.mean(dim=0).numpy(), atol=1e-4)

    def test_neither_batch_nor_padding_changes_a_vector(self, policy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        from engine.cluster.embedders import hidden_state

        whole = self.embed(policy, self.texts)
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1)[[0, 1, 3]], 1, atol=1e-3)
        for size in (1, 2, 5):
            monkeypatch.setattr(hidden_state, "BATCH", size)
            assert (self.embed(policy, self.texts) == whole).all()
        assert (self.embed(policy, self.texts[::-1])[::-1] == whole).all()
        left = models.load_tokenizer(policy.path)
        left.padding_side = "left"
        monkeypatch.setattr(models, "load_tokenizer", lambda *_: left)
        assert (self.embed(policy, self.texts) == whole).all()

    def test_long_texts_are_cut_only_where_it_is_asked_for(self, policy: Model) -> None:
        long = "1+1=2" * 40
        with pytest.raises(DataError, match="200 tokens and the model takes 128"):
            self.embed(policy, [long])
        assert (self.embed(policy, [long], max_tokens=5) == self.embed(policy, ["1+1=2"])).all()

    def test_the_name_holds_the_policy(self, policy: Model) -> None:
        assert make("hidden_state", {}, Path("s"), policy, generate_tiny.CPU).name == f"hidden_state@{policy.digest}"
        with pytest.raises(ModelError, match="needs the policy"):
            make("hidden_state").embed(["x"])


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights and its mean pooling, as the package saves it."""
    st = pytest.importorskip("sentence_transformers", reason="the extra `embed` is not installed")
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    words = generate_tiny.tokenizer()
    words.add_special_tokens({"pad_token": "<eos>"})
    words.model_input_names = ["input_ids", "attention_mask"]
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=64
    )
    BertModel(config).save_pretrained(folder / "inner")
    words.save_pretrained(folder / "inner")
    modules = pytest.importorskip("sentence_transformers.models")
    inner = modules.Transformer(str(folder / "inner"))
    model = st.SentenceTransformer(modules=[inner, modules.Pooling(16)], device="cpu")
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


def test_sentence_transformers(bert: Path, tmp_path: Path) -> None:
    spec_path = bert.parent / "spec.yaml"
    embedder = make("sentence_transformers", {"path": "model"}, spec_path, None, generate_tiny.CPU)
    texts = ["1+1=2", "a longer text, of ABC", "x"]
    whole = embedder.embed(texts)
    assert whole.shape == (3, 16) and whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-4)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(embedder.embed([text])[0], whole[row], atol=2e-5)
    prefixed = make("sentence_transformers", {"path": "model", "prefix": "A"}, spec_path, None, generate_tiny.CPU)
    np.testing.assert_allclose(prefixed.embed(["1+1=2"]), embedder.embed(["A1+1=2"]), atol=2e-5)
    settings = type(embedder).settings(embedder.params, spec_path)
    assert settings["model"] in embedder.name and str(bert.parent) not in json.dumps(settings)


def test_model2vec(tmp_path: Path) -> None:
    package = pytest.importorskip("model2vec", reason="the extra `embed` is not installed")
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as tokenizer_models

    words = Tokenizer(tokenizer_models.WordLevel({"<unk>": 0, "train": 1, "miles": 2, "apple": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    package.StaticModel(vectors, words, config={"normalize": True}, normalize=True).save_pretrained(tmp_path / "model")
    embedder = make("model2vec", {"path": "model"}, tmp_path / "spec.yaml")
    found = embedder.embed(["train miles", "apple", "train"])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1], [1, 0, 0]], atol=1e-6)
    assert (embedder.embed(["apple"]) == found[1:2]).all()


@pytest.mark.parametrize("name", ["sentence_transformers", "model2vec"])
def test_a_missing_package_folder_or_weight_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.cluster.embedders import local

    method = embedders.load(name)
    given = params(name, {"path": "model"}, "cluster.0.params")
    monkeypatch.setattr(local, "find_spec", lambda package: None)
    with pytest.raises(SpecError, match="not installed") as error:
        method.check(given, tmp_path / "spec.yaml")
    assert "pip install" in error.value.hint
    monkeypatch.setattr(local, "find_spec", lambda package: object())
    with pytest.raises(SpecError, match="no folder 'model'"):
        method.check(given, tmp_path / "spec.yaml")
    (tmp_path / "model").mkdir()
    with pytest.raises(SpecError, match="safetensors"):
        method.check(given, tmp_path / "spec.yaml")
    with pytest.raises(SpecError, match="needs this setting"):
        params(name, {}, "cluster.0.params")
