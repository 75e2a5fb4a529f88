"""The inputs that the requirements are tested on, one chapter a file; each group is named by what it can see."""
