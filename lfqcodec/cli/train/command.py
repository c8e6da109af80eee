"""`lfqcodec train`: packs, trains and exports."""

from __future__ import annotations

import logging

import click

from lfqcodec.cli.train import actions, export, generator, motion, pack, prior, tokenizer


@click.group("train")
def command() -> None:
    """Train tokenizers, priors, generators and classifiers, and export their weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


for each in (
    *(motion.motion, tokenizer.tokenizer, prior.prior, generator.generator),
    *(actions.masked_video, actions.actions, pack.pack),
    *(export.export, prior.export_prior, generator.export_generator),
    actions.export_actions,
):
    command.add_command(each)
