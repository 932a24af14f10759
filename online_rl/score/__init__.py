"""Scoring a file of report pairs with a judge, without training: `online-rl score`."""
