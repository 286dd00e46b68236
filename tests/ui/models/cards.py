"""Cards in the states that the tests of the Models room need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wan_pipeline.jobs.background.transfers import ModelTransfer, TransferState, TransferTask
from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.models.registry import WAN21_T2V_1_3B
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.models.transfer import TransferProgress
from wan_pipeline.ui.models.card import Card

OWN = replace(WAN21_T2V_1_3B, id="own", title="Own", repo="me/own")
"""Added by the user."""
FOLDER = replace(OWN, repo=None)
"""Added by the user from a folder."""
RUNNING = ModelTransfer(
    TransferTask.DOWNLOAD, TransferState.RUNNING, TransferProgress("vae/model.safetensors", 3 * 10**9, 29 * 10**9, 50e6)
)


def entry(status: Status, spec: ModelSpec = WAN21_T2V_1_3B, problem: str = "") -> Entry:
    is_here = status in (Status.INSTALLED, Status.DAMAGED)
    folder = Path("hub") / "snapshots" / "abc" if is_here else None
    return Entry(spec, status, folder, "abc" if is_here else None, 29.0, problem)


def card(status: Status, spec: ModelSpec = WAN21_T2V_1_3B, transfer: ModelTransfer | None = None) -> Card:
    return Card(entry(status, spec), transfer)
