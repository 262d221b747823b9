#!/bin/bash
# A job for Slurm: `sbatch slurm.sh` trains one network on the GPUs of two machines. What it reads and writes lies where
# both see it: the spec, the data, the run. PyTorch's processes speak without authorisation and without encryption: this
# is for a network that only its own users reach.
#
#SBATCH --job-name=resnet20
#SBATCH --nodes=2              # machines
#SBATCH --ntasks-per-node=1    # on each of them one torchrun, which starts the processes there
#SBATCH --gpus-per-node=4      # a process for each
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120      # two minutes before that: the run stops after a step, and is saved

export NETDSL_DATA_DIR=/shared/data

# the first machine is where the processes of all of them meet
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# the same job sent again goes on with its run, on as many machines as it then has
run=runs/resnet20-shared
if [ -e "$run/env.json" ]; then
    what=(--resume "$run")
else
    what=(resnet20.net --out "$run" --epochs 200 --sync-bn)
fi

# a machine or a process that fails is started anew three times, and all go on from the last checkpoint
srun torchrun \
    --nnodes="$SLURM_NNODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" \
    --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$first:29500" \
    --max-restarts=3 \
    -m netdsl train "${what[@]}" --backend torch
