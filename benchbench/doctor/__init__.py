"""The doctor: what a person runs on a new machine, before the first suite.

It looks at software, devices and disks, compares every loss, augmenter and loader on the device with the CPU, and
times a training step in each way that a recipe may ask for. Each finding that asks for something comes with a line of
advice.
"""
