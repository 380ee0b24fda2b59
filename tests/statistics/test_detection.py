"""Average precision beside COCO's own code, and by hand."""

import contextlib
import io

import numpy as np
import pytest

from benchbench.statistics.detection import average_precisions, best_score, f1_scores, match, mean_average_precision


def row(corners, number, score=0.0, kind=2):
    return [*corners, number, score, kind]


def images_of(*images):
    rows = np.zeros((len(images), max(1, *map(len, images)), 7))
    for place, image in enumerate(images):
        rows[place, : len(image)] = np.reshape(image, (-1, 7))
    return rows


def test_perfect_boxes_have_a_precision_of_one():
    image = [row([0, 0, 10, 10], 0), row([20, 0, 30, 10], 1)]
    found = [row(each[:4], each[4], 0.9, 1) for each in image]
    precisions = average_precisions(match(images_of([*image, *found], [])))
    assert mean_average_precision(precisions) == pytest.approx(1)
    assert precisions.shape == (10, 2)


def test_a_class_without_objects_does_not_count_and_found_boxes_without_objects_are_wrong():
    image = [row([0, 0, 10, 10], 1), row([0, 0, 10, 10], 1, 0.8, 1), row([0, 0, 9, 9], 0, 0.9, 1)]
    precisions = average_precisions(match(images_of(image, [row([0, 0, 5, 5], 1, 0.9, 1)])))
    assert np.isnan(precisions[:, 0]).all()
    assert precisions[:, 1] == pytest.approx(0.5)  # the wrong one in the second image comes first


def test_nothing_found_is_zero_and_no_objects_is_not_a_number():
    assert mean_average_precision(average_precisions(match(images_of([row([0, 0, 4, 4], 0)])))) == 0
    assert np.isnan(mean_average_precision(average_precisions(match(images_of([])))))


def random_rows(seed, count=24, classes=3):
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        image = []
        for _ in range(random.integers(0, 7)):
            low, side = random.uniform(0, 60, 2), random.uniform(5, 35, 2)
            number, kind = int(random.integers(classes)), 3 if random.random() < 0.15 else 2
            image.append(row([*low, *(low + side)], number, 0.0, kind))
            for _ in range(random.integers(0, 3)):
                shift = random.normal(0, 3, 4)
                corners = np.array([*low, *(low + side)]) + shift
                corners[2:] = np.maximum(corners[2:], corners[:2] + 1)
                other = int(random.integers(classes)) if random.random() < 0.2 else number
                image.append(row(corners, other, round(random.random(), 3), 1))
        for _ in range(random.integers(0, 3)):
            low = random.uniform(0, 60, 2)
            image.append(row([*low, *(low + 10)], int(random.integers(classes)), round(random.random(), 3), 1))
        images.append(image)
    return images_of(*images)


def coco_precisions(rows):
    """The same by pycocotools: [T, C]."""
    cocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for image, boxes in enumerate(rows):
        for x1, y1, x2, y2, number, score, kind in boxes:
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"image_id": image + 1, "category_id": int(number) + 1, "bbox": box, "area": box[2] * box[3]}
            if kind >= 2:
                truth.append({**entry, "id": len(truth) + 1, "iscrowd": int(kind == 3)})
            elif kind == 1:
                found.append({**entry, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = cocotools.COCO()
        numbers = range(1, int(rows[..., 4].max()) + 2)
        coco.dataset = {
            "images": [{"id": image + 1} for image in range(len(rows))],
            "annotations": truth,
            "categories": [{"id": number} for number in numbers],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., 0, 2]  # [T, R, C]
    return np.where((precision < 0).all(1), np.nan, precision.mean(1)), evaluation.stats


@pytest.mark.parametrize("seed", range(5))
def test_precisions_equal_those_of_cocos_code(seed):
    rows = random_rows(seed)
    ours = average_precisions(match(rows))
    theirs, stats = coco_precisions(rows)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert mean_average_precision(ours) == pytest.approx(stats[0], abs=1e-12)
    assert mean_average_precision(ours[:1]) == pytest.approx(stats[1], abs=1e-12)


@pytest.mark.parametrize(("kind", "ap50"), [(3, 1.0), (4, 0.5)])
def test_a_box_in_a_large_one_to_be_ignored_is_wrong_but_in_a_group(kind, ap50):
    """As in VOC's evaluation, a hard object is what a box overlaps by half, in which several may be ignored."""
    image = [row([60, 60, 70, 70], 0), row([0, 0, 50, 50], 0, kind=kind), row([5, 5, 15, 15], 0, 0.9, 1)]
    image += [row([0, 0, 50, 45], 0, 0.8, 1), row([0, 0, 45, 50], 0, 0.7, 1), row([60, 60, 70, 70], 0, 0.6, 1)]
    assert average_precisions(match(images_of(image)))[0] == pytest.approx(ap50)


def test_counts_of_images_are_as_good_as_copies():
    rows = random_rows(7, count=10)
    counts = np.array([2, 0, 1, 3, 1, 1, 0, 2, 1, 1])
    copies = average_precisions(match(np.repeat(rows, counts, 0)))
    np.testing.assert_allclose(average_precisions(match(rows), counts), copies, atol=0.02)
    assert not np.allclose(average_precisions(match(rows)), copies, atol=1e-3)


def test_f1_of_images_by_hand():
    there = [row([0, 0, 10, 10], 0), row([20, 0, 30, 10], 1), row([40, 0, 50, 10], 1, kind=3)]
    found = [row([0, 0, 10, 9], 0, 0.9, 1), row([20, 0, 30, 10], 0, 0.6, 1), row([40, 0, 49, 10], 1, 0.8, 1)]
    rows = images_of([*there, *found], [row([0, 0, 5, 5], 0, 0.3, 1)], [], [row([0, 0, 5, 5], 0)])
    matches = match(rows)
    # Of the first image one of two objects is found, and one box is of the wrong class; the ignored one counts nowhere.
    np.testing.assert_allclose(f1_scores(matches, 0.2), [2 / 4, 0, np.nan, 0])
    np.testing.assert_allclose(f1_scores(matches, 0.7), [2 / 3, np.nan, np.nan, 0])


@pytest.mark.parametrize("seed", range(4))
def test_the_best_score_is_that_of_the_highest_f1(seed):
    matches = match(random_rows(seed))

    def whole(least):
        counted = (matches.scores >= least) & ~matches.ignored[0]
        return 2 * matches.right[0][counted].sum() / (counted.sum() + matches.objects.sum())

    values = {score: whole(score) for score in matches.scores}
    assert values[best_score(matches)] == max(values.values())
    assert best_score(match(images_of([row([0, 0, 4, 4], 0), row([9, 9, 12, 12], 0, 0.5, 1)]))) == 1
