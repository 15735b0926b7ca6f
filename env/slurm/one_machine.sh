#!/bin/bash
# A real SLURM on one machine, to try the cluster path without a cluster: a controller and two nodes of one CPU each.
#
#   sudo env/slurm/one_machine.sh install     Debian 12, Ubuntu: slurmctld, slurmd, slurm-client, munge
#   sudo env/slurm/one_machine.sh start       ready when it returns
#   sudo env/slurm/one_machine.sh kill n1     the node dies: its daemon and everything its jobs run
#   sudo env/slurm/one_machine.sh revive n1
#   sudo env/slurm/one_machine.sh stop
#
# It writes /etc/slurm/slurm.conf, since Snakemake's job step drops SLURM_CONF from its environment: never use it on a
# machine that belongs to a cluster. Everything else lies in $SLURM_PLACE (/tmp/ciacore-slurm).
set -euo pipefail
place=${SLURM_PLACE:-/tmp/ciacore-slurm}
host=$(hostname -s)

configure() {
    if [ -e /etc/slurm/slurm.conf ] && ! grep -q "ClusterName=ciacore" /etc/slurm/slurm.conf; then
        echo "one_machine.sh: /etc/slurm/slurm.conf is another cluster's; it is left alone." >&2
        exit 1
    fi
    mkdir -p /etc/slurm "$place"/{state,spool,log,run}
    : >"$place/log/jobs.txt"
    cat >/etc/slurm/slurm.conf <<CONF
ClusterName=ciacore
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job whose node died starts again after 5 seconds instead of 120.
AuthInfo=cred_expire=5
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool/%n
SlurmctldPidFile=$place/run/slurmctld.pid
SlurmdPidFile=$place/run/%n.pid
SlurmctldLogFile=$place/log/slurmctld.log
SlurmdLogFile=$place/log/%n.log
# No rights to control groups are needed, so that it works in containers.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
# No database: squeue remembers finished jobs for ten minutes, and Snakemake asks squeue.
AccountingStorageType=accounting_storage/none
MinJobAge=600
JobCompType=jobcomp/filetxt
JobCompLoc=$place/log/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
# Two nodes may claim more than the one machine has.
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=1 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

case ${1:-} in
install)
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
    ;;
start)
    rm -rf "$place/state"
    configure
    mkdir -p /run/munge && chown munge: /run/munge
    munge -n >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
    slurmctld -c
    for node in n1 n2; do slurmd -N $node -c; done
    for _ in $(seq 100); do
        [ "$(sinfo -h -o %T 2>/dev/null | sort -u)" = idle ] && exit 0
        sleep 0.2
    done
    echo "one_machine.sh: SLURM did not become idle; see $place/log" >&2
    exit 1
    ;;
kill)
    kill -9 "$(cat "$place/run/$2.pid")"
    for job in $(squeue -h -w "$2" -t R -o %A); do
        for step in $(pgrep -f "slurmstepd: \[$job\." || true); do
            for child in $(pgrep -P "$step" || true); do
                pkill -9 -s "$(ps -o sid= -p "$child" | tr -d ' ')" || true
            done
            kill -9 "$step" 2>/dev/null || true
        done
    done
    ;;
revive) slurmd -N "$2" -c ;;
stop)
    scontrol shutdown 2>/dev/null || true
    sleep 1
    for file in "$place"/run/*.pid; do
        if [ -e "$file" ]; then kill "$(cat "$file")" 2>/dev/null || true; fi
    done
    ;;
*)
    sed -n 2,9p "$0"
    exit 2
    ;;
esac
