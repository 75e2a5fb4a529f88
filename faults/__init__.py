"""The catalogue of faults: known mistakes, one chapter a file as in the reference, each with a citation where it was seen."""
