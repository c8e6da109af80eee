"""`lfqcodec train`: packs, trains and exports."""

from __future__ import annotations

import logging

import click

from lfqcodec.cli.train import export, generator, motion, pack, prior, tokenizer


@click.group("train")
def command() -> None:
    """Train tokenizers, priors and generators, and export their weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


for each in (
    *(motion.motion, tokenizer.tokenizer, prior.prior, generator.generator, pack.pack),
    *(export.export, prior.export_prior, generator.export_generator),
):
    command.add_command(each)
