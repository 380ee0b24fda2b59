"""The columns of the results, one row per cell: their order, types and meanings."""

from __future__ import annotations

COLUMNS = {
    "arm": "arm of the suite",
    "row": "row in the tables: the arm, with teacher and state for distillation",
    "ladder": "row without the length, where the arm's recipe has several",
    "epochs": "epochs of the training",
    "method": "scratch, linear_probe, finetune, published or distill",
    "earlier_methods": "methods of the arms that its student went through before, the first one first, joined by +; "
    "empty where it goes on from no arm",
    "data": "data set",
    "student": "student",
    "teacher": "teacher; several in one cell are joined by +",
    "adapt": "state of the teacher",
    "seed": "training seed",
    "status": "done, failed or missing",
    "reason": "reason for the failure",
    "accuracy": "test accuracy, 0..1; of a segmentation the same as miou, of a detection as map",
    "top5_accuracy": "share of the test images whose label is among the 5 likeliest classes; empty for at most 5",
    "balanced_accuracy": "mean over the classes of the share of their test images that are right",
    "calibration_error": "expected calibration error over 15 bins, 0 is best; these three are empty where the stage "
    "is of a version that stored no predictions",
    "miou": "of a segmentation, intersection over union of the pixels of each class, the mean over the classes; empty "
    "for other tasks, as the three above are here",
    "pixel_accuracy": "of a segmentation, share of the test images' pixels that are right",
    "map": "of a detection, mean average precision over overlaps of 0.5 to 0.95 and over the classes, as COCO "
    "counts it; empty for other tasks",
    "ap50": "of a detection, the same at an overlap of 0.5",
    "validation_accuracy": "validation accuracy of the chosen epoch, 0..1; empty without a validation split",
    "chosen_epoch": "epoch whose weights were tested",
    "test_images": "images in the test split",
    "train_images": "distinct training images",
    "validation_images": "images held out for validation",
    "unit": "GPU-hours or CPU-hours",
    "own_hours": "device-hours of the cell's own training, testing and set-up, as if it had trained alone; of a "
    "search, those of the chosen trial",
    "here_hours": "device-hours in this run, where cells that train side by side share batches and teachers",
    "cohort": "number of cells that trained side by side, this one included",
    "stage_hours": "device-hours of the stages that the cell needs (adapting and running the teacher, tuning, trials "
    "that were not chosen), in full",
    "shared_stage_hours": "the same, each but trials divided by the cells of this suite that need it",
    "search_hours": "of both the hours of the trials of this seed that were not chosen; 0 without a search",
    "trials": "trials of the search that the cell was chosen from; empty without one",
    "pretraining_hours": "device-hours of the pre-training that the student starts from; empty where unknown",
    "pretraining_basis": "measured where the suite runs that pre-training, estimated where its weights are public",
    "pretraining_low_hours": "of an estimate, the hours at the throughput of the fastest step that was measured",
    "pretraining_high_hours": "the same at that of the median step",
    "pretraining_joules": "energy of a pre-training that the suite runs; empty where it was not measured",
    "teacher_pretraining_hours": "the same of the teachers; for public weights where the suite prices them",
    "teacher_pretraining_basis": "measured or estimated, as for the student's",
    "teacher_accuracy": "test accuracy of the adapted teacher; the mean of several",
    "energy_joules": "energy of the cell itself; empty where it was not measured",
    "stage_joules": "energy of the stages that it needs, in full; empty where it was not measured for all of them",
    "shared_stage_joules": "the same, each but trials divided by the cells of this suite that need it",
    "peak_bytes": "peak memory, with cells beside it: allocated on a GPU, else resident in the worker process",
    "flops": "floating-point operations of the student's forward pass of one image",
    "parameters": "parameters of the student",
    "teacher_parameters": "parameters of the teacher; the sum of several",
    "family": "family of a distilled student: the module that defines its architecture",
    "teacher_family": "the same of the teacher; those of several are joined by +",
    "similarity_start": "linear CKA of the student's and the teacher's embeddings before training; the mean of several",
    "similarity_end": "the same with the weights that were tested",
    "device": "device of the run",
    "reference_seconds": "seconds of one reference step on that device, by which machines can be compared",
    "key": "key of the cell's stage",
    "weights_sha256": "sha256 of the weights file",
    "test_correct": "test images that are right, as bits (numpy.packbits, hex); left out of results.csv and --json",
}
# Columns of whole numbers, which have none where a cell is missing.
WHOLE = (
    *("seed", "epochs", "chosen_epoch", "test_images", "train_images", "validation_images"),
    *("cohort", "peak_bytes", "flops", "parameters", "trials"),
)
# Columns of texts; the others are numbers.
TEXTS = (
    *("arm", "row", "ladder", "method", "earlier_methods", "data", "student", "teacher", "adapt", "status", "reason"),
    *("unit", "pretraining_basis", "teacher_pretraining_basis", "family", "teacher_family", "device", "key"),
    *("weights_sha256", "test_correct"),
)
HIDDEN = ("test_correct",)  # longer than all others together: only in the frame


def type_of(column: str) -> str:
    """The type of a column in one word: text, integer or number."""
    return "text" if column in TEXTS else "integer" if column in WHOLE else "number"
