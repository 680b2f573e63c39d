"""Random damage to a file's bytes."""

import random


def damaged(whole: bytes, draw: random.Random) -> bytes:
    """One of: bytes changed, taken out, put in, doubled or zeroed at random places; or the end cut off."""
    data, place = bytearray(whole), draw.randrange(len(whole))
    end = min(len(data), place + draw.choice([1, 2, 8, 64]))
    match draw.randrange(6):
        case 0:
            for _ in range(draw.choice([1, 3, 30])):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case 1:
            del data[place:end]
        case 2:
            data[place:place] = draw.randbytes(end - place)
        case 3:
            data[place:place] = data[place:end] * draw.choice([1, 1000])
        case 4:
            data[place:end] = bytes(end - place)
        case 5:
            del data[place:]
    return bytes(data)
