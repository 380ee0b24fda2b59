/* The runtime's header includes this one; NVIDIA ships it with its compiler alone, and gcc needs nothing of it. */
