"""The motion tokenizer: encoder and decoder agree, whatever sizes, counts and vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from motion_support import SMALL, clip, encode_plain, lively_motion, number_of

from lfqcodec.errors import BitstreamError, WeightsError
from lfqcodec.tokenizer.lfq.ternary import tokens_valid
from lfqcodec.tokenizer.motion.group import Reference, Source
from lfqcodec.tokenizer.motion.layout import QUALITY_STEPS, pack_depth
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer
from lfqcodec.tokenizer.motion.training.checkpoint import model_tensors
from lfqcodec.tokenizer.motion.training.rate import Rates
from lfqcodec.weights.loading import save_tokenizer

Q = 1.3


@pytest.fixture(scope="module")
def model() -> MotionTokenizer:
    return lively_motion()


def decode(
    model: MotionTokenizer,
    tokens: list[np.ndarray],
    count: int,
    size: tuple[int, int],
    reference: Reference | None = None,
) -> tuple[np.ndarray, Reference]:
    """The pictures of a group, and what the next one is predicted from."""
    group = model.decode(model.read(tokens, count, size, reference), reference)
    return group.pictures(), group.reference


def code(
    model: MotionTokenizer, pictures: list[np.ndarray], counts: list[int]
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray], Reference]:
    """Encode groups of those counts, the first alone, and check the decoder against it."""
    reference = decoder_reference = None
    tokens, decoded, size = [], [], pictures[0].shape[:2]
    for count in counts:
        group, pictures = pictures[:count], pictures[count:]
        coded, closed = encode_plain(model.encode(group, reference, Q))
        made, reference = closed.close(decoded=True)
        again, decoder_reference = decode(model, list(coded.values()), count, size, decoder_reference)
        assert np.array_equal(made, again)
        assert torch.equal(reference.picture, decoder_reference.picture)
        assert made.shape == (count, *size, 3)
        tokens.append(coded)
        decoded.append(made)
    assert reference is not None
    return tokens, decoded, reference


def empty(model: MotionTokenizer, count: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Tokens of a group that say nothing."""
    layers = model.layout.layers(count, size, first=False)
    return {layer.name: np.zeros(layer.shape, np.int32) for layer in layers}


@pytest.mark.parametrize("size", [(33, 31), (16, 16), (8, 8), (1, 1), (48, 80)])
@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_decoder_agrees_with_encoder(model: MotionTokenizer, size: tuple[int, int], last: int) -> None:
    groups, _, _ = code(model, clip(5 + last, size), [1, 4, last])
    for number, (tokens, count) in enumerate(zip(groups, (1, 4, last), strict=True)):
        layers = model.layout.layers(count, size, first=number == 0)
        assert list(tokens) == [layer.name for layer in layers]
        for layer in layers:
            assert tokens[layer.name].shape == layer.shape
            assert tokens[layer.name].dtype == np.int32
            if layer.name.split(".")[0] in ("intra", "anchor", "middle", "quarters"):
                assert tokens_valid(tokens[layer.name]).all()


def test_pictures_are_worth_looking_at(model: MotionTokenizer) -> None:
    pictures = clip(9, (48, 80))
    _, decoded, _ = code(model, pictures, [1, 4, 4])
    error = np.concatenate(decoded).astype(float) - np.stack(pictures)
    assert np.abs(error).mean() < 30


def test_a_block_without_tokens_is_its_prediction(model: MotionTokenizer) -> None:
    """No motion, no depth: the reference itself, bit for bit, chain after chain."""
    size = (48, 80)
    _, decoded, reference = code(model, clip(1, size), [1])
    for _ in range(3):
        pictures, reference = decode(model, list(empty(model, 4, size).values()), 4, size, reference)
    # Pictures between mix two equal predictions.
    assert all(np.array_equal(picture, decoded[0][0]) for picture in pictures)


def test_layers_of_pictures_between_can_be_left_out(model: MotionTokenizer) -> None:
    """The anchor, and so all that follows, is the same without them."""
    size = (32, 48)
    video = clip(5, size)
    # A middle that nothing predicts.
    video[2] = 255 - video[2]
    groups, decoded, _ = code(model, video, [1, 4])
    _, reference = decode(model, list(groups[0].values()), 1, size)
    layers = model.layout.layers(4, size, first=False)
    kept = [groups[1][layer.name] for layer in layers if layer.stream == 0]
    pictures, _ = decode(model, kept, 4, size, reference)
    assert np.array_equal(pictures[3], decoded[1][3])
    assert not np.array_equal(pictures[1], decoded[1][1])


def test_still_pictures_cost_no_motion(model: MotionTokenizer) -> None:
    _, decoded, reference = code(model, clip(1, (48, 80)), [1])
    tokens, _ = encode_plain(model.encode([decoded[0][0]] * 4, reference, Q))
    assert not any(each.any() for name, each in tokens.items() if name.startswith("motion"))


def test_vectors_may_point_anywhere(model: MotionTokenizer) -> None:
    size = (33, 31)
    _, _, reference = code(model, clip(1, size), [1])
    rng = np.random.default_rng(0)
    tokens = empty(model, 4, size)
    for name, each in tokens.items():
        if name.startswith("motion"):
            tokens[name] = rng.integers(0, 1 << 18, each.shape, dtype=np.int32)
    for _ in range(3):
        pictures, after = decode(model, list(tokens.values()), 4, size, reference)
        encoder = model.encode(list(pictures), reference, 1.0)
        for number, layer in enumerate(encoder.layers):
            encoder = encoder.take(number, tokens[layer.name])
        assert np.array_equal(encoder.close(decoded=True)[0], pictures)
        reference = after


def test_encoders_are_immutable(model: MotionTokenizer) -> None:
    _, _, reference = code(model, clip(1, (32, 48)), [1])
    start = model.encode(clip(5, (32, 48))[1:], reference, Q)
    start = start.take(0, start.options(0).plain)
    moved = np.full_like(start.options(1).plain, 100 << 9)
    other = start.take(1, moved)
    one, again = (start.take(1, start.options(1).plain) for _ in range(2))
    everywhere = pack_depth(np.full((1, 2, 3), 3, np.int32))
    gains = [encoder.take(2, everywhere).options(3).gains for encoder in (one, other, again)]
    assert torch.equal(gains[0], gains[2])
    assert not torch.equal(gains[0], gains[1])
    with pytest.raises(ValueError, match="next layer"):
        start.options(2)
    with pytest.raises(ValueError, match="shape"):
        start.take(1, moved[:, :1])


def test_quality_travels_with_the_group(model: MotionTokenizer) -> None:
    pictures = clip(1, (32, 48))
    for asked, q in ((-3.0, 0.0), (0.5, 0.5), (9.0, SMALL.intra_levels - 1.0)):
        encoder = model.encode(pictures, None, asked)
        assert encoder.options(0).plain.item() == q * QUALITY_STEPS
    _, closed = encode_plain(model.encode(pictures, None, 2.0))
    reference = closed.close(decoded=False)[1]
    for asked in (0.5, 2.0, 2.5):
        encoder = model.encode(pictures, reference, asked)
        assert encoder.options(0).plain.item() == (asked - 2.0) * QUALITY_STEPS % 512
    fine, coarse = (encode_plain(model.encode(pictures, None, q))[0] for q in (2.0, 0.0))
    assert sum(np.count_nonzero(each) for each in fine.values()) > sum(
        np.count_nonzero(each) for each in coarse.values()
    )


def test_pictures_without_colour_stay_without(model: MotionTokenizer) -> None:
    """Whatever networks make of them; and colour comes back where a group has it."""
    size = (32, 48)
    grey, coloured = clip(9, size, seed=3), clip(4, size, seed=4)
    grey = [np.repeat(each[..., 1:2], 3, -1) for each in grey]
    grey[2][..., 0] = np.minimum(grey[2][..., 0].astype(int) + 4, 255)  # what coding leaves is not seen
    groups = [grey[:1], grey[1:5], grey[5:], coloured]
    expected, found, reference, known = [512, 0, 0, 512], [], None, None
    for pictures in groups:
        tokens, encoder = encode_plain(model.encode(pictures, reference, 2.0))
        found.append(int(tokens["quality"].item()) & 512)
        made, reference = encoder.close(decoded=True)
        again, known = decode(model, list(tokens.values()), len(pictures), size, known)
        assert made is not None
        assert np.array_equal(made, again)
        assert (np.ptp(made, axis=-1) == 0).all() == (pictures is not coloured)
        assert known.monochrome == reference.monochrome == (pictures is not coloured)
    assert found == expected
    mixed = model.encode([*grey[1:4], coloured[0]], reference, 2.0)
    assert mixed.options(0).plain.item() == 0


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("anchor.0", 1 << 9),
        ("anchor.0", 1),
        ("motion.middle", 1 << 18),
        ("depth.quarters", 3),
        ("anchor.1", 1 << 18),
        ("quality", 3 * QUALITY_STEPS + 1),
        ("quality", 2 << 9),
    ],
)
def test_tokens_that_mean_nothing_are_refused(model: MotionTokenizer, name: str, token: int) -> None:
    """Among them: a token where depth says that there is none."""
    size = (32, 48)
    _, _, reference = code(model, clip(1, size), [1])
    tokens = empty(model, 4, size)
    tokens[name] = np.full_like(tokens[name], token)
    with pytest.raises(BitstreamError):
        decode(model, list(tokens.values()), 4, size, reference)


def test_pictures_of_another_size_than_the_reference_are_refused(model: MotionTokenizer) -> None:
    _, _, reference = code(model, clip(1, (32, 48)), [1])
    with pytest.raises(ValueError, match="size"):
        model.encode(clip(4, (48, 32)), reference, Q)
    with pytest.raises(ValueError, match="1 picture"):
        model.encode(clip(4, (48, 32)), None, Q)


def test_motion_is_found_and_used(model: MotionTokenizer) -> None:
    """A picture that moved as a whole is predicted from where it was."""
    size = (64, 64)
    picture = clip(1, (96, 96))[0]
    cut = torch.from_numpy(picture[16:80, 16:80]).permute(2, 0, 1).contiguous()
    reference = Reference(Source(cut))
    encoder = model.encode([picture[16:80, 21:85]], reference, Q)
    encoder = encoder.take(0, encoder.options(0).plain)
    number = number_of(encoder, "motion.anchor")
    encoder = encoder.take(number, encoder.options(number).plain)
    _, after = encoder.close(decoded=True)
    moved = after.picture[:, :, :48].int() - reference.picture[:, :, 5:53].int()
    still = reference.picture[:, :, :48].int() - reference.picture[:, :, 5:53].int()
    assert after.picture.shape == (3, *size)
    assert moved.abs().float().mean() < still.abs().float().mean() / 4


def test_a_checkpoint_becomes_a_model_file(model: MotionTokenizer, tmp_path: Path) -> None:
    state = model.state_dict()
    intra = {name.removeprefix("intra."): each for name, each in state.items() if name.startswith("intra.")}
    groups = {name: each for name, each in state.items() if not name.startswith("intra.")}
    rates = Rates(1, SMALL.intra_layers)
    intra |= {f"rates.{name}": each for name, each in rates.state_dict().items()}
    tensors = model_tensors(SMALL, {**intra, "steps": torch.tensor(7)}, groups)
    save_tokenizer(tmp_path / "model.safetensors", SMALL, tensors, {})
    loaded = MotionTokenizer(SMALL)
    loaded.load_state_dict({name: each.float() for name, each in tensors.items()})
    assert torch.equal(loaded.intra.quantizer.channel, model.intra.quantizer.channel)
    with pytest.raises(WeightsError, match="fit"):
        model_tensors(SMALL, {}, groups)
