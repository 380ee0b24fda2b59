"""A suite becomes a plan: cells, the stages that they need, and the key of each stage."""
