"""Watches customers' messages and the bot's replies: drift tests, Evidently reports, triggers."""
