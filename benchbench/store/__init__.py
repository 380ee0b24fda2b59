"""Stage folders on disk: atomic writes, verified reads, one writer.

runs/store.json                     the store's format
runs/cell/1a2b3c.../spec.json       the stage's spec, that its key is taken over; see `benchbench.specs.stages`
                    state.json      running or failed, attempts, reason
                    curve.jsonl     one line per epoch
                    log.txt         output of the worker
                    checkpoint.pt   while it runs
                    weights.safetensors   of a stage that trains
                    predictions.npz       its answers on the test images
                    outputs/*.npy         of a stage that runs a frozen network over a data set
                    record.json     written last: the stage is done; see `benchbench.specs.records`
runs/ledger/RUN.jsonl               time of each run by purpose; see `benchbench.costs.ledger`
runs/claims/KIND-KEY/N   which process is at work on a stage; see `benchbench.store.claims`
runs/logs/RUN.worker-SLOT.log   output of processes outside of any stage
"""

from benchbench.store.claims import Claim, Claims, Held
from benchbench.store.files import (
    file_sha256,
    read_bytes,
    remove_leftovers,
    write_atomic,
    write_json,
)
from benchbench.store.predictions import (
    Predictions,
    read_boxes,
    read_confusions,
    read_predictions,
    write_boxes,
    write_confusions,
    write_predictions,
)
from benchbench.store.stage_folder import StageFolder, StageState
from benchbench.store.store import FORMAT, KEY_LENGTH, LOGS, Store

__all__ = [
    "FORMAT",
    "KEY_LENGTH",
    "LOGS",
    "Claim",
    "Claims",
    "Held",
    "Predictions",
    "StageFolder",
    "StageState",
    "Store",
    "file_sha256",
    "read_boxes",
    "read_bytes",
    "read_confusions",
    "read_predictions",
    "remove_leftovers",
    "write_atomic",
    "write_boxes",
    "write_confusions",
    "write_json",
    "write_predictions",
]
