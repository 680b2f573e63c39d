"""``deepspeed scaled/train.py --config FILE``: train a language model on preference pairs."""

import os
import sys
from pathlib import Path

# Run by path, Python puts this file's folder first on sys.path; the packages live one level up.
sys.path[0] = str(Path(__file__).resolve().parent.parent)


def main() -> int:
    """Train or describe; a user's mistake is one line and exit code 2, a failed run one line and 1."""
    from scaled.config import parse

    first = os.environ.get("RANK", "0") == "0"
    try:
        command = parse()
        if command.dry_run:
            from scaled.estimate import describe_run

            message = describe_run(command.config) if first else ""
        else:
            from scaled.run import run

            message = run(command.config)
    except ValueError as error:
        if first:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201  # the one line a user's mistake ends in
        return 2
    except RuntimeError as error:
        return _failed(error)
    if first:
        print(message)  # noqa: T201  # where everything is
    return 0


def _failed(error: RuntimeError) -> int:
    from scaled.lifecycle import NonFiniteError, SaveError, is_lost_rank, rank

    if is_lost_rank(error):
        message = "another rank was lost, see the launcher's message; the same command goes on from the last checkpoint"
    elif isinstance(error, (NonFiniteError, SaveError)):
        message = str(error)
    else:
        raise error
    print(f"\nerror: rank {rank()}: {message}", file=sys.stderr, flush=True)  # noqa: T201  # below the progress bar
    # The process group is broken: tearing it down would wait for ranks that are gone.
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
