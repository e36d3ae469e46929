"""A small model that finds names, user names and addresses in chats written in a hurry, trained on made-up text."""
