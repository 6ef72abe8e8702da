"""Tasks of a comparison as jobs of Slurm, by submitit."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from podium.comparison.running.task import SAME, Gone, Outcome, Task, perform
from podium.errors import MachineError

SLURM = "slurm"
EXECUTOR = SLURM  # submitit's name; "local" runs the same jobs in processes of this machine
MINUTES = 4 * 60  # that a job may take; SBATCH_TIMELIMIT says otherwise
ENDED_BY_SOMEBODY = ("CANCELLED", "OUT_OF_MEMORY")  # states in which a job is not sent again


def refuse_without_slurm() -> None:
    """Refuse a machine from which no jobs can be sent.

    Raises:
        MachineError: Slurm's commands are missing.
    """
    for command in ("sbatch", "srun"):
        if EXECUTOR == SLURM and shutil.which(command) is None:
            what = f"cluster: slurm: there is no {command} on this machine"
            raise MachineError(what, "start it on a login node of the cluster")


class SlurmTasks:
    """Jobs of Slurm.

    Slurm's own variables say where they run: SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, SBATCH_GRES and so on.

    Args:
        folder: of the jobs' files and their output, on storage that all machines see.
        threads: that compute in each.

    Raises:
        MachineError: there is no Slurm here, or it refuses the jobs.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        # Before its end a job gets SIGUSR1, at which a run saves its checkpoint; submitit's own is SIGUSR2.
        os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")
        import submitit

        self.executor = submitit.AutoExecutor(folder=folder.absolute(), cluster=EXECUTOR)
        self.executor.update_parameters(name="podium", timeout_min=MINUTES, cpus_per_task=threads)
        self.refused = submitit.core.utils.FailedSubmissionError

    def begin(self, task: Task) -> Any:
        """Hand a job over; returns it."""
        try:
            return self.executor.submit(perform, task)
        except (self.refused, OSError) as error:
            what = " ".join(str(error).split())
            raise MachineError(f"cluster: slurm refuses a job: {what}", "check SBATCH_PARTITION and the like") from None

    def ended(self, handles: list[Any], seconds: float) -> Iterator[tuple[Any, Outcome | Gone]]:
        """Wait for jobs, so long at most; yields those that have ended."""
        ready = [job for job in handles if job.done()]
        if not ready:
            time.sleep(seconds)
        for job in ready:
            yield job, self._outcome(job)

    def _outcome(self, job: Any) -> Outcome | Gone:
        """How a job has ended."""
        where = f"its output is in {job.paths.stderr}"
        if not job.paths.result_pickle.exists() and str(job.state).startswith(ENDED_BY_SOMEBODY):
            return Gone(f"its job {job.job_id} was ended as {job.state}", again=False)
        error = job.exception()
        if error is None:
            outcome: Outcome = job.result()
            return outcome
        if job.paths.result_pickle.exists():  # `perform` raises nothing: it could not be imported
            said = [line for line in str(error).splitlines() if "Error" in line][-1:]
            problem = MachineError(f"cluster: slurm: a job could not begin: {' '.join(said)}; {where}", SAME)
            return Outcome("slurm", problem, everywhere=True)
        return Gone(f"its job {job.job_id} ended without a result ({job.state}); {where}")

    def cancel(self, handle: Any) -> None:
        """Tell a job to stop, which saves its checkpoint, or not to begin."""
        handle.cancel(check=False)

    def close(self) -> None:
        """Nothing is to be given back."""
