"""`lfqcodec train`: packs, trains and exports."""

from __future__ import annotations

import logging

import click

from lfqcodec.cli.train import export, motion, pack, prior, tokenizer


@click.group("train")
def command() -> None:
    """Train tokenizers and priors and export their weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


for each in (motion.motion, tokenizer.tokenizer, prior.prior, pack.pack, export.export, prior.export_prior):
    command.add_command(each)
