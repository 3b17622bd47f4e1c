"""The work of `launch.predict`: read files, predict, write masks and the table of areas."""
