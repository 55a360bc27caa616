"""Mails, of whichever context: a letter, and two ways to send it.

A mail may go out twice: whoever sends it cannot know whether the last attempt arrived. Both have the same name, the id
of the event that they answer, so that the second replaces the first (a file) or can be told as the same (Message-ID).
"""

from command.mail.letter import Letter, Undeliverable
from command.mail.mailer import Mailer

__all__ = ["Letter", "Mailer", "Undeliverable"]
