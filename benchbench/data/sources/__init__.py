"""One module a family of data sets; `params` holds what can be said of them without reading images."""
