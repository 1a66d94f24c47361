"""The command `scalper`: a file for each group of subcommands."""
