"""``deepspeed scaled/train.py --config FILE``: train a language model on preference pairs."""

import os
import sys
from pathlib import Path

# Run by path, Python puts this file's folder first on sys.path; the packages live one level up.
sys.path[0] = str(Path(__file__).resolve().parent.parent)


def main() -> int:
    """As :func:`_main`; an interrupt before training is one line and exit code 130."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        if not os.environ.get(name, "0").isdecimal():
            print(f"error: {name} = {os.environ[name]!r} in the environment is no number: unset it", file=sys.stderr)  # noqa: T201
            return 2
    if int(os.environ.get("RANK", "0")) >= int(os.environ.get("WORLD_SIZE", "1")):
        print("error: RANK must be less than WORLD_SIZE in the environment: unset both", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return _main()
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("\nstopped before training; the same command starts again", file=sys.stderr, flush=True)  # noqa: T201
        return 130


def _main() -> int:
    """Train or describe; a user's mistake is one line and exit code 2, a failed run one line and 1.

    Anything else is a mistake of the program's and keeps its traceback.
    """
    from inspo.command_line import UserError
    from scaled.config import parse
    from scaled.distributed import leave, rank
    from scaled.errors import NonFiniteError, SaveError, report_error
    from scaled.workarounds import is_lost_rank, quiet_deprecations

    quiet_deprecations()
    try:
        command = parse()
        if command.dry_run:
            from scaled.run.dry_run import describe_run

            if rank() != 0:
                return 0
            described = describe_run(command.config)
            print(described.text)  # noqa: T201  # what the run will be
            for obstacle in described.obstacles:
                report_error(f"the run would fail here: {obstacle}")
            return 2 if described.obstacles else 0
        else:
            from scaled.run.run import run

            message = run(command.config)
    except UserError as error:
        report_error(str(error))
        return 2
    except (NonFiniteError, SaveError) as error:
        report_error(str(error))
    except RuntimeError as error:
        if not is_lost_rank(error):
            raise
        report_error(
            "another rank was lost, see its message or the launcher's; the same command goes on from the last "
            "checkpoint",
            aftermath=True,
        )
    else:
        if rank() == 0:
            print(message)  # noqa: T201  # where everything is
        leave()
        return 0
    # The process group is broken: tearing it down would wait for ranks that are gone.
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
