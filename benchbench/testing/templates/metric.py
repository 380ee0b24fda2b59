"""A metric for BenchBench: the mean over the classes of F1."""

from benchbench import Component, hookimpl


@hookimpl
def benchbench_metrics():
    # `dense=True` for the answers of a segmentation, `boxes=True` for those of a detection.
    yield Component("template", f"{__name__}:value", summary="mean over the classes of F1")


def value(answers, classes):
    """A number of 0..1, the best is 1: a column of the results, which a suite compares by where its `metric:` names it.

    Args:
        answers: on all test images: `labels` [N], the likeliest `classes` of each [N, K], and their `probabilities`. Of
            a segmentation, pixels of each image by class and predicted class [N, C, C]; of a detection, the boxes of
            each image [N, L, 7], as `benchbench.statistics.detection` has them.
        classes: number of classes.
    """
    import numpy as np

    top = answers.classes[:, 0]
    right = np.bincount(answers.labels[top == answers.labels], minlength=classes)
    both = np.bincount(answers.labels, minlength=classes) + np.bincount(top, minlength=classes)
    return float(np.mean(2 * right[both > 0] / both[both > 0]))
