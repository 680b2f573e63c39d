"""``python scaled/examples/make_english.py``: make english.jsonl and english_validation.jsonl, seeded.

Short questions of our own with one right answer. Chosen replies answer in a sentence and end; rejected ones give
another question's answer, ramble around it without an end in sight, or are rude. An instruction model of 135 M
weights, which rambles by itself, learns within minutes on a CPU to answer and stop. No question of the
validation records is in the training records, in whatever words.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
VALIDATION_FACTS = 4
"""Facts of each topic that are held out."""


@dataclass(frozen=True)
class Topic:
    """Questions of one kind.

    Attributes:
        asked: ways to ask, with ``{x}`` for what is asked about.
        answered: ways to answer, with ``{x}`` and ``{y}``.
        about: what the question is about, in a few words.
        facts: x -> y.
    """

    asked: tuple[str, ...]
    answered: tuple[str, ...]
    about: str
    facts: dict[str, str]


def _pairs(text: str) -> dict[str, str]:
    """``France Paris, Italy Rome`` as facts; an underscore is a space."""
    return {x.replace("_", " "): y.replace("_", " ") for x, y in (item.split() for item in text.split(","))}


TOPICS = (
    Topic(
        ("What is the capital of {x}?", "Name the capital of {x}.", "Which city is {x}'s capital?"),
        ("The capital of {x} is {y}.", "It is {y}."),
        "capital cities",
        _pairs(
            "France Paris, Italy Rome, Spain Madrid, Portugal Lisbon, Austria Vienna, Greece Athens, Norway Oslo, "
            "Sweden Stockholm, Finland Helsinki, Denmark Copenhagen, Poland Warsaw, Hungary Budapest, Ireland Dublin, "
            "Japan Tokyo, China Beijing, Thailand Bangkok, Egypt Cairo, Kenya Nairobi, Canada Ottawa, Cuba Havana, "
            "Peru Lima, Chile Santiago, Germany Berlin, Belgium Brussels, Russia Moscow, Iceland Reykjavik"
        ),
    ),
    Topic(
        ("What is the opposite of {x}?", "Give me an antonym of {x}.", "Name a word that means the reverse of {x}."),
        ("The opposite of {x} is {y}.", "{Y} is the opposite of {x}."),
        "words and their opposites",
        _pairs(
            "hot cold, tall short, fast slow, empty full, early late, light dark, rich poor, wet dry, loud quiet, "
            "young old, strong weak, open closed, soft hard, deep shallow, narrow wide, sweet sour, brave cowardly, "
            "cheap expensive, rough smooth, heavy light, near far, ancient modern"
        ),
    ),
    Topic(
        ("What is the plural of {x}?", "Write the plural of the word {x}."),
        ('The plural of {x} is "{y}".', 'It is "{y}".'),
        "English nouns",
        _pairs(
            "mouse mice, child children, foot feet, tooth teeth, goose geese, leaf leaves, wolf wolves, knife knives, "
            "city cities, box boxes, baby babies, potato potatoes, woman women, ox oxen, shelf shelves, "
            "cherry cherries, bus buses, half halves"
        ),
    ),
    Topic(
        ("What is the past tense of {x}?", "Put the verb {x} into the past tense."),
        ('The past tense of {x} is "{y}".', 'It is "{y}".'),
        "English verbs",
        _pairs(
            "go went, see saw, take took, write wrote, begin began, swim swam, bring brought, buy bought, "
            "catch caught, drink drank, eat ate, fly flew, give gave, know knew, run ran, sing sang, speak spoke, "
            "teach taught, think thought, win won"
        ),
    ),
    Topic(
        ("What is the chemical symbol of {x}?", "Which symbol does {x} have in the periodic table?"),
        ("The chemical symbol of {x} is {y}.", "It is {y}."),
        "the periodic table",
        _pairs(
            "gold Au, silver Ag, iron Fe, copper Cu, tin Sn, lead Pb, oxygen O, hydrogen H, helium He, carbon C, "
            "nitrogen N, sodium Na, potassium K, calcium Ca, zinc Zn, mercury Hg"
        ),
    ),
    Topic(
        ("What is a young {x} called?", "Which word do we use for a baby {x}?"),
        ("A young {x} is called a {y}.", "It is called a {y}."),
        "animals and their young",
        _pairs(
            "dog puppy, cat kitten, cow calf, sheep lamb, horse foal, goat kid, duck duckling, goose gosling, "
            "bear cub, deer fawn, frog tadpole, kangaroo joey, swan cygnet, hare leveret, owl owlet"
        ),
    ),
    Topic(
        ("How many sides does a {x} have?", "Tell me the number of sides of a {x}."),
        ("A {x} has {y} sides.", "It has {y} sides."),
        "shapes",
        _pairs(
            "triangle three, square four, pentagon five, hexagon six, heptagon seven, octagon eight, nonagon nine, "
            "decagon ten"
        ),
    ),
    Topic(
        ("How many {x}?", "Please tell me how many {x}."),
        ("There are {y}.",),
        "units",
        _pairs(
            "minutes_are_in_an_hour 60, hours_are_in_a_day 24, days_are_in_a_week seven, months_are_in_a_year twelve, "
            "seconds_are_in_a_minute 60, centimeters_are_in_a_meter 100, grams_are_in_a_kilogram 1000, "
            "meters_are_in_a_kilometer 1000, days_are_in_June 30, days_are_in_July 31, inches_are_in_a_foot twelve, "
            "feet_are_in_a_yard three, years_are_in_a_century 100, years_are_in_a_decade ten, "
            "eggs_are_in_a_dozen twelve"
        ),
    ),
    Topic(
        ("What is {x}?", "Work out {x}.", "Calculate {x}."),
        ("{X} is {y}.", "The answer is {y}."),
        "arithmetic",
        {f"{a} plus {b}": str(a + b) for a, b in ((2, 3), (4, 5), (6, 7), (8, 3), (9, 6), (12, 5), (15, 4), (20, 13))}
        | {f"{a} minus {b}": str(a - b) for a, b in ((9, 4), (7, 5), (12, 3), (15, 8), (20, 6), (30, 11))}
        | {f"{a} times {b}": str(a * b) for a, b in ((2, 6), (3, 4), (5, 5), (7, 3), (8, 4), (9, 2), (6, 10))},
    ),
    Topic(
        ("In which language does {x} mean hello?", "Which language says {x} for hello?"),
        ("{X} means hello in {y}.", "It is {y}."),
        "greetings around the world",
        _pairs(
            "bonjour French, hola Spanish, ciao Italian, hallo German, ola Portuguese, aloha Hawaiian, namaste Hindi"
        ),
    ),
)

RAMBLING = (
    "That is a great question! There is a lot to say about {about}. Before I answer, it is important to consider, and",
    "Well, when we talk about {about}, we should consider {about}. Secondly, there is {about}. In addition,",
    "As a language model I can help with {about}. {X} is very interesting. Some of what is interesting is that it is",
    "Sure! Here is something about {about}:\n\n1. It is important.\n2. It is used by many.\n3. It is important.\n4.",
)
RUDE = (
    "Look it up yourself.",
    "Everybody knows that. Why are you asking me?",
    "I can't be bothered with {about}.",
    "What a boring question.",
)
WRONG_SHARE, RAMBLING_SHARE = 0.4, 0.45
"""Shares of rejected replies that are wrong and that ramble; the others are rude."""


def filled(text: str, topic: Topic, x: str, y: str) -> str:
    """A text of a topic with a fact in it; X and Y are x and y with a capital letter."""
    return text.format(x=x, y=y, X=x[0].upper() + x[1:], Y=y[0].upper() + y[1:], about=topic.about)


def _rejected(topic: Topic, x: str, answer: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < WRONG_SHARE:
        others = [y for y in topic.facts.values() if y != topic.facts[x]]
        return filled(answer, topic, x, rng.choice(others))
    return filled(rng.choice(RAMBLING if kind < WRONG_SHARE + RAMBLING_SHARE else RUDE), topic, x, topic.facts[x])


def records(seed: int = 0) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Training and validation records, which share no fact."""
    rng = random.Random(seed)  # noqa: S311  # data, not secrets
    train: list[dict[str, str]] = []
    validation: list[dict[str, str]] = []
    for topic in TOPICS:
        held_out = set(rng.sample(sorted(topic.facts), min(VALIDATION_FACTS, len(topic.facts) // 3)))
        for x, y in topic.facts.items():
            # Held-out facts are asked once; the others in two ways, answered the same way or not.
            for asked in rng.sample(topic.asked, 1 if x in held_out else 2):
                answer = rng.choice(topic.answered)
                record = {
                    "prompt": filled(asked, topic, x, y),
                    "chosen": filled(answer, topic, x, y),
                    "rejected": _rejected(topic, x, answer, rng),
                }
                (validation if x in held_out else train).append(record)
    rng.shuffle(train)
    rng.shuffle(validation)
    return train, validation


if __name__ == "__main__":
    for name, made in zip(("english", "english_validation"), records(), strict=True):
        HERE.joinpath(f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in made))
