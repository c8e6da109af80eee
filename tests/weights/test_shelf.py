"""Finding weights by name, file, folder and SHA-256, whatever else lies there; and those that ship."""

from __future__ import annotations

from pathlib import Path

import pytest
from motion_prior_support import random_motion_prior
from safetensors.torch import load_file

from lfqcodec.errors import UnknownModel, WeightsError, WeightsHashMismatch, WeightsMissing
from lfqcodec.prior.motion.weights import save_motion_prior
from lfqcodec.weights.loading import save_tokenizer
from lfqcodec.weights.store import (
    DEFAULT_MODEL,
    DEFAULT_VARIABLE,
    MODELS,
    MODELS_VARIABLE,
    PRIORS,
    Model,
    find_model,
    find_prior,
    package_folder,
    prior_for,
    resolve_model,
)


def make_model(path: Path) -> Model:
    """The default model under another name, and so with another SHA-256."""
    model = resolve_model()
    save_tokenizer(path, model.config, load_file(model.path), {"name": path.stem})
    return MODELS.read(path)


def make_prior(path: Path, model: Model) -> bytes:
    metadata = {"name": path.stem, "trained_for": model.sha256.hex()}
    return save_motion_prior(path, random_motion_prior(), metadata)


def test_what_ships(monkeypatch):
    monkeypatch.delenv(DEFAULT_VARIABLE)
    model = resolve_model()
    prior = prior_for(model)
    assert model.name == DEFAULT_MODEL
    assert prior is not None
    assert {path.stem for path in package_folder().glob("*.safetensors")} == {
        model.name,
        prior.name,
        f"{model.name}.rates",
    }
    counts = model.config.layout.counts
    assert [prior.config.layers(part) for part in ("intra", "anchor", "between")] == [
        counts.intra,
        counts.anchor,
        counts.between,
    ]


def test_ways_to_name_a_file(tmp_path, monkeypatch):
    model = make_model(tmp_path / "mine.safetensors")
    digest = make_prior(tmp_path / "prior.safetensors", model)
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    for wanted in (model.path, str(model.path), tmp_path):
        assert MODELS.resolve(wanted) == find_model(model.sha256, wanted) == model
    assert PRIORS.resolve(tmp_path).sha256 == digest
    with pytest.raises(UnknownModel, match=r"named 'mine' \(available: fixture, fixture-exact, motion-7\)"):
        MODELS.resolve("mine")
    with pytest.raises(UnknownModel, match=digest.hex()):
        find_prior(digest)
    for wanted in (model.path, tmp_path):
        assert find_prior(digest, wanted).name == "prior"
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    assert MODELS.resolve("mine") == find_model(model.sha256) == model
    assert PRIORS.resolve("prior") == find_prior(digest)


def test_a_default_of_ones_own(tmp_path, monkeypatch):
    """By its path, which lets it be found by its SHA-256 too, or by the name of one that is at hand."""
    model = make_model(tmp_path / "mine.safetensors")
    digest = make_prior(tmp_path / "prior.safetensors", model)
    for wanted in (model.path, tmp_path):
        monkeypatch.setenv(DEFAULT_VARIABLE, str(wanted))
        assert resolve_model() == find_model(model.sha256) == model
        assert find_prior(digest) == prior_for(model)
    for name in (DEFAULT_MODEL, ""):
        monkeypatch.setenv(DEFAULT_VARIABLE, name)
        assert resolve_model().name == DEFAULT_MODEL
        with pytest.raises(UnknownModel):
            find_model(model.sha256)
    monkeypatch.setenv(DEFAULT_VARIABLE, "mine")
    with pytest.raises(UnknownModel, match="no model named 'mine'"):
        resolve_model()
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    assert resolve_model() == model


def test_what_cannot_be_found(tmp_path):
    model = make_model(tmp_path / "mine.safetensors")
    with pytest.raises(WeightsHashMismatch, match=model.sha256.hex()[:16]):
        find_model(bytes(32), model.path)
    with pytest.raises(UnknownModel, match="00" * 32):
        find_model(bytes(32))
    with pytest.raises(WeightsMissing, match="no such file"):
        MODELS.resolve(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="holds no prior"):
        PRIORS.resolve(model.path)
    with pytest.raises(WeightsMissing, match="no prior that can be read"):
        PRIORS.resolve(tmp_path)
    make_model(tmp_path / "other.safetensors")
    with pytest.raises(WeightsMissing, match="more than one model"):
        MODELS.resolve(tmp_path)


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    one, two = make_model(tmp_path / "one.safetensors"), make_model(tmp_path / "two.safetensors")
    (tmp_path / "two.safetensors").replace(tmp_path / "one.safetensors")
    assert MODELS.read(tmp_path / "one.safetensors").sha256 == two.sha256 != one.sha256


def test_the_prior_of_a_model_is_its_own_and_the_last_by_name(tmp_path):
    model = make_model(tmp_path / "mine.safetensors")
    make_prior(tmp_path / "z.safetensors", resolve_model())
    assert prior_for(model) is None
    for name in ("b", "a"):
        make_prior(tmp_path / f"{name}.safetensors", model)
    prior = prior_for(model)
    assert prior is not None
    assert prior.name == "b"
