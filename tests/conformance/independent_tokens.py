"""Layers, motion, rows and rANS of .lfq files in profile static (spec sections 5 and 10 to 12).

The second half of independent_decoder.py. Standard library only, nothing of lfqcodec.
"""

from __future__ import annotations

import functools


class Fault(Exception):
    """A breach of the specification; `name` is the error of section 1."""

    def __init__(self, name, message, offset=None, chunk=None):
        super().__init__(f"{name}: {message} (byte {offset}, chunk {chunk})")
        self.name = name


class Layer:
    """A layer of a group: tokens for `pictures` grids of rows x columns, all 0 until they are decoded."""

    def __init__(self, name, stream, grid, pictures=1, most=0):
        self.name, self.stream, self.grid, self.pictures = name, stream, grid, pictures
        self.most = most  # greatest depth
        self.tokens = [0] * (grid[0] * grid[1] * pictures)


def list_groups(header, valid, starts, size):
    """Section 5: the groups of a chunk, of `size` pictures, each a list of layers in coding order."""
    groups = [list_layers(header, 0)] if starts else []
    rest = valid - 1 if starts else valid
    return groups + [list_layers(header, min(size, rest - first)) for first in range(0, rest, size)]


def list_layers(header, count):
    """Section 5: the layers of a group of `count` pictures, of an intra group for 0."""
    high, wide = -(-header["height"] // 16), -(-header["width"] // 16)
    latent, motion, depth = (2 * high, 2 * wide), (high, wide), (-(-high // 2), -(-wide // 2))
    layers = [Layer("quality", 0, (1, 1))]
    if count == 0:
        return layers + [Layer(f"intra.{k}", 0, latent) for k in range(header["intra_layers"])]
    for picture, pictures in (("anchor", 1), ("middle", int(count > 1)), ("quarters", max(0, count - 2))):
        stream = int(picture != "anchor")
        most = header["between_layers" if stream else "anchor_layers"]
        if pictures:
            layers.append(Layer(f"motion.{picture}", stream, motion, pictures))
            layers.append(Layer(f"depth.{picture}", stream, depth, pictures, most))
            layers += [Layer(f"{picture}.{k}", stream, latent, pictures) for k in range(most)]
    return layers


class Stream:
    """Sections 5 and 6: the layers of a chunk that are in stream `number`."""

    def __init__(self, number, groups):
        self.number = number
        layers = [layer for group in groups for layer in group if layer.stream == number]
        self.qualities = [layer for layer in layers if layer.name == "quality"]
        self.motion = [layer for layer in layers if layer.name == "motion.anchor"]
        together = self.qualities + self.motion
        self.groups = [
            [layer for layer in group if layer.stream == number and layer not in together] for group in groups
        ]
        self.layers = together + [layer for group in self.groups for layer in group]
        self.tokens = sum(len(layer.tokens) for layer in self.layers)
        self.words = self.crc = 0

    def all_tokens(self):
        return [token for layer in self.layers for token in layer.tokens]


def decode_stream(stream, rans, header, quality):
    """Sections 10 and 11, profile static: fills the layers of a stream in a chunk.

    `quality` is that of the group before, None at the start of a GOP; gives those of all groups.
    """
    found = []
    if stream.qualities:
        coder = Coder([0] * len(stream.qualities), rans)
        for place in coder.places:
            coder.subtokens(0, [place], quality_row(quality is None and place == 0))
        coder.subtokens(1, coder.places, single_row())
        for layer, token in zip(stream.qualities, coder.tokens, strict=True):
            rans.need(token < 1024, "quality")
            layer.tokens[0] = token
            quality = ((quality or 0) + token) % 512
            found.append(quality)
    if stream.motion:
        size = len(stream.motion[0].tokens)
        coder = Coder([0] * (size * len(stream.motion)), rans)
        decode_motion(coder, *MOTION["anchor"])
        for number, layer in enumerate(stream.motion):
            layer.tokens[:] = coder.tokens[number * size : (number + 1) * size]
    for group in stream.groups:
        depths = {}
        for layer in group:
            kind, _, part = layer.name.partition(".")
            coder = Coder(layer.tokens, rans)
            if kind == "motion":
                decode_motion(coder, *MOTION[part])
            elif kind == "depth":
                coder.subtokens(0, coder.places, depth_row(DEPTH[part]))
                coder.subtokens(1, coder.places, single_row())
                depths[part] = [
                    read_depths(layer, picture, header, rans) for picture in range(layer.pictures)
                ]
            else:
                decode_values(coder, kind, int(part), skipped(layer, int(part), depths.get(kind), header))
    rans.finish()
    return found


class Coder:
    """Puts subtokens into the tokens of a layer."""

    def __init__(self, tokens, rans):
        self.tokens, self.rans, self.places = tokens, rans, range(len(tokens))

    def subtokens(self, number, places, row):
        for place in places:
            self.tokens[place] += self.rans.symbol(row) << 9 * number


def decode_motion(coder, dy, dx_still, dx_moving):
    coder.subtokens(0, coder.places, motion_row(dy))
    still = [place for place in coder.places if coder.tokens[place] == 0]
    moving = [place for place in coder.places if coder.tokens[place] != 0]
    coder.subtokens(1, still, motion_row(dx_still))
    coder.subtokens(1, moving, motion_row(dx_moving))


def decode_values(coder, kind, number, skip):
    for which in (0, 1):
        coder.subtokens(which, skip, single_row())
    coder.rans.need(not any(coder.tokens[place] for place in skip), "token below its depth")
    skip = set(skip)
    coded = [place for place in coder.places if place not in skip]
    first, least = SIGNIFICANT[kind]
    coder.subtokens(0, coded, significance_row(max(least, first >> number)))
    coder.subtokens(1, [place for place in coded if coder.tokens[place] == 0], single_row())
    for place in coded:
        significant = coder.tokens[place]
        if 0 < significant < 512:
            coder.subtokens(1, [place], sign_row(significant))
        coder.rans.need(
            (coder.tokens[place] >> 9) & ~coder.tokens[place] & 511 == 0, "a sign without a value"
        )


def skipped(layer, number, depths, header):
    """Section 10.4: the places of a layer of values at which the depth is `number` or less."""
    if depths is None:
        return []
    rows, columns = layer.grid
    wide = -(-header["width"] // 16)
    found = []
    for place in range(len(layer.tokens)):
        picture, position = divmod(place, rows * columns)
        y, x = divmod(position, columns)
        if depths[picture][y // 2 * wide + x // 2] <= number:
            found.append(place)
    return found


def read_depths(layer, picture, header, rans):
    """Section 10.4: the depth of each block of a picture."""
    high, wide = -(-header["height"] // 16), -(-header["width"] // 16)
    rows, columns = layer.grid
    found = [0] * (high * wide)
    for row in range(rows):
        for column in range(columns):
            token = layer.tokens[(picture * rows + row) * columns + column]
            rans.need(token < 256, "depth")
            for place in range(4):
                y, x, number = 2 * row + place // 2, 2 * column + place % 2, token >> 2 * place & 3
                inside = y < high and x < wide
                rans.need(number <= (min(layer.most, 3) if inside else 0), "depth")
                if inside:
                    found[y * wide + x] = layer.most if number == 3 else number
    return found


def read_motion(groups, before, header):
    """Section 10.3: the fields of all groups, lists of (dx, dy), and the last anchor's."""
    rows, columns = -(-header["height"] // 16), -(-header["width"] // 16)
    fields = []
    for group in groups:
        tokens = {layer.name: layer.tokens for layer in group}
        if "motion.anchor" in tokens:
            before = middle = read_anchor_field(tokens["motion.anchor"], before, rows, columns)
            fields.append(before)
        if "motion.middle" in tokens:
            middle = add_to_half(before, tokens["motion.middle"])
            fields.append(middle)
        quarters = tokens.get("motion.quarters", [])
        for first in range(0, len(quarters), rows * columns):
            fields.append(add_to_half(middle, quarters[first : first + rows * columns]))
    return fields, before


def wrap(value):
    return (value + 256) % 512 - 256


def read_anchor_field(tokens, before, rows, columns):
    """Section 10.3."""
    field = []
    for y in range(rows):
        for x in range(columns):
            b = before[y * columns + x] if before else (0, 0)
            left = field[-1] if x > 0 else b
            a = field[(y - 1) * columns + x] if y > 0 else b
            c = field[(y - 1) * columns + x + 1] if y > 0 and x < columns - 1 else b
            token = tokens[y * columns + x]
            vector = []
            for axis, difference in ((0, token >> 9), (1, token & 511)):
                inner = sorted((left[axis], a[axis], c[axis]))[1]
                vector.append(wrap(sorted((inner, b[axis], left[axis]))[1] + difference))
            field.append(tuple(vector))
    return field


def add_to_half(base, tokens):
    """Section 10.3: a field between, from twice the motion it should have and the differences to that."""
    return [
        (dx // 2 + wrap(token >> 9), dy // 2 + wrap(token & 511))
        for (dx, dy), token in zip(base, tokens, strict=True)
    ]


# Section 11: the tables of profile static.
SIGNIFICANT = {"intra": (32, 2), "anchor": (12, 4), "middle": (8, 4), "quarters": (8, 4)}
DEPTH = {"anchor": (19, 19, 6, 20), "middle": (41, 16, 6, 1), "quarters": (48, 11, 4, 1)}
MOTION = {"anchor": (2048, 1536, 3072), "middle": (704, 384, 2048), "quarters": (704, 384, 2048)}


def completed(row):
    """Section 11: what the frequencies of 1 to 511 leave of 2^24 is that of 0."""
    return [(1 << 24) - sum(row[1:]), *row[1:]]


@functools.cache
def single_row():
    return completed([1] * 512)


@functools.cache
def quality_row(first):
    return [32768] * 512 if first else completed([(1 << 23) // 511] * 512)


@functools.cache
def motion_row(moved):
    return completed([moved << 9 - min(s, 512 - s).bit_length() for s in range(512)])


@functools.cache
def depth_row(chances):
    row = [1] * 512
    for s in range(256):
        for shift in (0, 2, 4, 6):
            row[s] *= chances[s >> shift & 3]
    return completed(row)


@functools.cache
def significance_row(chance):
    set_bits = [s.bit_count() for s in range(512)]
    products = [chance**n * (64 - chance) ** (9 - n) for n in set_bits]
    return completed([1 + (product * ((1 << 24) - 512) >> 54) for product in products])


@functools.cache
def sign_row(significant):
    each = 1 + ((1 << 24) - 512) // (1 << significant.bit_count())
    return completed([each if s & ~significant == 0 else 1 for s in range(512)])


class Rans:
    """Section 12: the symbols of one stream, row after row."""

    def __init__(self, words, where):
        self.words, self.where, self.state = words, where, 0
        self.need(not words or words[-1] != 0, "last word is zero")
        for _ in range(2):
            if words:
                self.state = (self.state << 32) + words.pop()

    def need(self, condition, message):
        if not condition:
            raise Fault("CorruptPayload", message, *self.where)

    def symbol(self, row):
        q = self.state & 0xFFFFFF
        start = symbol = 0
        while start + row[symbol] <= q:
            start += row[symbol]
            symbol += 1
        self.state = row[symbol] * (self.state >> 24) + q - start
        if self.state < 1 << 32 and self.words:
            self.state = (self.state << 32) + self.words.pop()
        return symbol

    def finish(self):
        self.need(self.state == 0 and not self.words, "payload does not end with its last symbol")


def pack_tokens(tokens):
    return b"".join(token.to_bytes(4, "little") for token in tokens)
