"""How a bank is opened: the only wiring. One file per group of rooms; the rooms themselves take plain arguments."""

from reasoning_bank.opening.clockwork import Clockwork, clockwork
from reasoning_bank.opening.embedding import embedder_choice
from reasoning_bank.opening.privacy import outgoing, redaction_rules
from reasoning_bank.opening.rooms import Rooms, open_rooms
from reasoning_bank.opening.texts import counting, prompt_compressor, token_counter

__all__ = [
    "Clockwork",
    "Rooms",
    "clockwork",
    "counting",
    "embedder_choice",
    "open_rooms",
    "outgoing",
    "prompt_compressor",
    "redaction_rules",
    "token_counter",
]
