"""Pages; and the walk of a pair as a function, ``docs.walk``, and as a picture, ``docs.draw_walk``."""
