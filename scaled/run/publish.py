"""``push_to_hub``: the result on the hub. Whether it may be written there is asked before anything is trained."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, get_token

from inspo.command_line import UserError, one_line
from scaled.config import OutputOptions


def open_repository(options: OutputOptions) -> None:
    """Make the repository, or find that it is there and may be written to. Without ``push_to_hub`` nothing happens.

    Raises:
        UserError: no token, a name that is none, no access, or no hub.
    """
    if options.push_to_hub is None:
        return
    if get_token() is None:
        raise UserError("push_to_hub needs a token: run `hf auth login`, set HF_TOKEN, or leave push_to_hub out")
    try:
        HfApi().create_repo(options.push_to_hub, private=options.hub_private, exist_ok=True)
    except Exception as error:  # the hub's answer, or what the client's network library says of it
        raise UserError(f"push_to_hub = {options.push_to_hub}: cannot be written to ({one_line(error)})") from error


def publish(options: OutputOptions) -> str:
    """Push the result's folder, if that was asked for.

    Returns:
        A line that says where it is; empty where nothing was asked for.

    Raises:
        UserError: it could not be pushed; the result is where it was written.
    """
    if options.push_to_hub is None:
        return ""
    folder = Path(options.out) / "model"
    try:
        made = HfApi().upload_folder(
            repo_id=options.push_to_hub,
            folder_path=folder,
            commit_message="Trained with InSPO's reference implementation",
        )
    except Exception as error:  # the hub's answer, or what the client's network library says of it
        again = f"hf upload {options.push_to_hub} {folder}"
        raise UserError(f"{folder} is complete, but was not pushed ({one_line(error)}): {again}") from error
    return f"\non the hub:      {made}"
