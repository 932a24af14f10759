"""A regular package: green-score installs one of the same name, which would win over a folder without this file."""
