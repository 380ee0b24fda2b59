"""A suite for a folder of photographs: networks, sizes and lengths that fit the images, the device and the hours."""
