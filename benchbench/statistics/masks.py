"""Values of masks: the classes of an image's pixels."""

# A pixel that counts nowhere: not in a loss, not in a score.
IGNORED = 255
