#!/usr/bin/env bash
# A sweep under Slurm: one Ray per allocation, started on every node by ray symmetric-run.
#
#   sbatch infra/clouds/slurm.sh sweep.yaml
#   squeue --me; gansweep --profile lab status NAME               from the login node, or any machine with the profile
#   scancel JOB                                                    end it; sbatch again goes on where it stands
#
# cost   what your site counts: --nodes x --gpus-per-node x hours, also while slots are idle.
# needs  in the environment of sbatch, which hands it on: what the profile asks for as ${LAB_PASSWORD}, the keys of S3.
# ends   with the sweep or at --time. 120 s before that, the sweep is asked to stop; when its current reports are finished,
#        or 90 s later, the job goes back into the queue. Longer reports need an earlier --signal and a longer wait below.
#SBATCH --job-name=gansweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --output=gansweep-%j.log
set -euo pipefail

sweep=${1:?usage: sbatch slurm.sh SWEEP.yaml}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))    # nodes may be shared

export GANSWEEP_PROFILE=${GANSWEEP_PROFILE:-lab}
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300    # by itself 30 s, too short for a large allocation
# A node that vanishes is found after 18 s at the most; by itself Ray takes 68 s.
export RAY_health_check_period_ms=1500 RAY_health_check_timeout_ms=3000 RAY_health_check_failure_threshold=4
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

name=$(sed -n 's/^name: *\([^ #]*\).*/\1/p' "$sweep")

# stop returns as soon as it has asked, and requeue kills whatever still runs. A job that is not back in the queue at
# --time is over, so nothing here may fail or take long.
requeue() {
    timeout 20 gansweep stop "$name" || true
    timeout 90 tail --pid=$! --sleep-interval=0.5 --follow /dev/null || true
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap requeue TERM

srun --kill-on-bad-exit=1 ray symmetric-run --address "$address:$port" --min-nodes "$SLURM_NNODES" -- \
    gansweep submit "$sweep" --address "$address:$port" &
wait $!    # in the background, so that the shell hears the signal
