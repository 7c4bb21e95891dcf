"""`python -m factory.training JOB.json`: the child process of the train stage.

Exit codes: 0 done, 75 stopped on purpose and resumable, 1 an error (a user's error is also written
to `error.json` beside the job), anything else a crash.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from factory.errors import Stopped, UserError
from factory.training.config import TrainJob
from factory.training.files import locked, write_json


def main(job_file: Path) -> int:
    """Run one job file; the exit code says how it ended."""
    job = TrainJob.model_validate_json(job_file.read_text("utf-8"))
    job.work_dir.mkdir(parents=True, exist_ok=True)
    first = os.environ.get("RANK", "0") == "0"
    # Two children in one work_dir would tear each other's checkpoints; the second one waits.
    with locked(job.work_dir / "lock") if first else nullcontext():
        from factory.training.child import run

        try:
            run(job)
            leave_together()
        except UserError as error:
            write_json(
                job.work_dir / "error.json",
                {
                    "message": error.message,
                    "next": error.next,
                    "stopped": isinstance(error, Stopped),
                },
            )
            return error.exit_code
    return 0


def leave_together() -> None:
    """End the process group, if there is one, when every rank is done.

    A rank that ends by itself leaves its group's threads running, and the C++ library then aborts
    the process now and then: a training that had succeeded would have failed.
    """
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
