"""Devices, their environment, energy and memory."""
