"""One module for each family of data sets: parameters, official sizes, and the loader."""
