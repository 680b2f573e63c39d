"""``python scaled/examples/make_tiny.py``: make tiny.jsonl, preference pairs of our own invention, seeded.

Chosen replies answer the request and name its topic; rejected ones brush it off, or answer another
request. A model of random weights learns the difference within minutes on a CPU.
"""

import json
import random
from pathlib import Path

TOPICS = {
    "fruits": ["apples", "pears", "plums", "figs", "cherries", "grapes"],
    "tools": ["a hammer", "a saw", "a file", "a drill", "a level", "a wrench"],
    "rivers": ["the Rhine", "the Nile", "the Volga", "the Po", "the Loire", "the Ganges"],
    "colours": ["red", "teal", "amber", "violet", "ochre", "navy"],
    "instruments": ["the oboe", "the cello", "the lute", "the harp", "the tuba", "the viola"],
    "birds": ["the wren", "the heron", "the swift", "the robin", "the finch", "the owl"],
}
REQUESTS = ["Name three {}.", "Which {} do you know?", "I need a short list of {}.", "Please tell me some {}."]
ANSWERS = [
    "Here are three {topic}: {a}, {b} and {c}.",
    "Gladly! Among {topic} there are {a}, {b} and {c}.",
    "Three {topic} come to mind: {a}, {b} and {c}. Shall I name more?",
]
REFUSALS = [
    "I don't know.",
    "Look it up yourself.",
    "That is a boring question, ask another one.",
    "No. Next question?",
]
RECORDS = 640


def records(seed: int = 0) -> list[dict[str, str]]:
    """All records."""
    rng = random.Random(seed)  # noqa: S311  # data, not secrets
    made: list[dict[str, str]] = []
    while len(made) < RECORDS:
        topic = rng.choice(list(TOPICS))
        a, b, c = rng.sample(TOPICS[topic], 3)
        other = rng.choice([name for name in TOPICS if name != topic])
        chosen = rng.choice(ANSWERS).format(topic=topic, a=a, b=b, c=c)
        refusal = rng.choice(REFUSALS)
        rejected = refusal if rng.random() < 0.7 else f"{refusal} You could ask about {other} instead."
        record = {"prompt": rng.choice(REQUESTS).format(topic), "chosen": chosen, "rejected": rejected}
        if record not in made:
            made.append(record)
    return made


if __name__ == "__main__":
    path = Path(__file__).with_name("tiny.jsonl")
    path.write_text("".join(json.dumps(record) + "\n" for record in records()))
