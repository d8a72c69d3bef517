"""Frames as they should not be, made from frames as they should be."""

from __future__ import annotations

from random import Random

INTERESTING = (b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")


def mutated(content: bytes, random: Random) -> bytes:
    """Return a copy with a few bytes changed, put in or taken out."""
    frame = bytearray(content)
    for _ in range(random.randrange(1, 5)):
        if not frame:
            break
        place = random.randrange(len(frame))
        match random.randrange(4):
            case 0:
                frame[place] ^= 1 << random.randrange(8)
            case 1:
                piece = random.choice(INTERESTING)
                frame[place : place + len(piece)] = piece
            case 2:
                del frame[place : place + random.randrange(1, 9)]
            case _:
                frame[place:place] = random.randbytes(random.randrange(1, 9))
    return bytes(frame)
